"""Notes: this server keeps none."""

from __future__ import annotations

from .._empty import EmptyTable
from .._records import record, rows

NoteModel = record("NoteModel", __name__, "id user_id title", **rows("data meta access_grants created_at updated_at"))
Note = NoteUserResponse = NoteModel
NoteForm = record("NoteForm", __name__, "title", **rows("data meta access_grants"))
NoteUpdateForm = record("NoteUpdateForm", __name__, **rows("title data meta access_grants"))


class NoteTable(EmptyTable):
    """Notes: this server keeps none."""

    why = "This server keeps no notes."
    none = "get_note_by_id"
    empty = "get_notes get_notes_by_user_id get_notes_by_permission"
    page = "search_notes"
    false = "delete_note_by_id"
    writes = "insert_new_note update_note_by_id"


Notes = NoteTable()
