"""Everything under ``/api/v1/functions/``: one module per part."""
