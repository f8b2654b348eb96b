"""Import, export and sync of functions: Open WebUI's JSON, single files, folders of files, git repositories.

What was read (``entries``, ``files``, ``git``) becomes a plan (``plan``), everything in it is tried (``check``), and
then all of it is written in one transaction (``apply``); ``run`` is the whole story.
"""

from __future__ import annotations

from functions_app.exchange.entries import slug
from functions_app.exchange.run import Imported, import_file

__all__ = ["Imported", "import_file", "slug"]
