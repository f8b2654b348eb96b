"""Tool kits: this server hosts none."""

from __future__ import annotations

from .._empty import EmptyTable
from .._records import record, rows

ToolModel = record(
    "ToolModel", __name__, "id user_id name", content="", specs=[], meta={}, **rows("version_id access_grants")
)
Tool = ToolResponse = ToolUserResponse = ToolModel
ToolForm = record("ToolForm", __name__, "id name content", meta={}, **rows("access_grants commit_message"))
ToolMeta = record("ToolMeta", __name__, description=None, manifest={})
ToolValves = record("ToolValves", __name__, **rows("valves"))


class ToolsTable(EmptyTable):
    """Tool kits: this server hosts none."""

    why = "This server hosts no tool kits."
    none = "get_tool_by_id get_tool_valves_by_id get_user_valves_by_id_and_user_id"
    empty = "get_tools get_tools_by_user_id get_tool_list"
    facts = "get_tools_by_ids get_tool_valves_by_ids"
    false = "delete_tool_by_id"
    writes = "insert_new_tool update_tool_by_id update_tool_valves_by_id update_user_valves_by_id_and_user_id"


Tools = ToolsTable()
