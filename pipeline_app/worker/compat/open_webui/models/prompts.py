"""Stored prompts: this server keeps none."""

from __future__ import annotations

from .._empty import EmptyTable
from .._records import record, rows

PromptModel = record(
    "PromptModel",
    __name__,
    "command user_id name",
    content="",
    **rows("id title meta tags access_grants created_at updated_at"),
)
Prompt = PromptUserResponse = PromptModel
PromptForm = record("PromptForm", __name__, "command name content", **rows("title meta tags access_grants"))


class PromptsTable(EmptyTable):
    """Stored prompts: this server keeps none."""

    why = "This server keeps no prompts."
    none = "get_prompt_by_id get_prompt_by_command"
    empty = "get_prompts get_prompts_by_user_id get_tags"
    page = "search_prompts"
    false = "delete_prompt_by_id delete_prompt_by_command"
    writes = "insert_new_prompt update_prompt_by_id update_prompt_by_command"


Prompts = PromptsTable()
