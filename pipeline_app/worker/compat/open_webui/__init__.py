"""Open WebUI as functions import it. What is here asks the server, as the caller of the running hook may."""
