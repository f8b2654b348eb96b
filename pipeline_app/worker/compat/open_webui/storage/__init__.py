"""Open WebUI's storage, as far as functions read from it."""
