"""The tables of Open WebUI that functions read: ``users``, ``models``, ``files``."""
