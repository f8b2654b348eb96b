"""The shapes of the API's bodies and answers as JSON schemas, one module per resource."""
