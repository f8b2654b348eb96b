"""Attacks by function authors, each run in a real worker of a real server, and what has to come of them."""
