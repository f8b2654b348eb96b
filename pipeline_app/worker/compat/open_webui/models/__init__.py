"""The tables of Open WebUI that functions use. What this server does not keep is a table without rows."""
