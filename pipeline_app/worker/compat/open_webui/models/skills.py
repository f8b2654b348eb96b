"""Skills: this server has none."""

from __future__ import annotations

from .._empty import EmptyTable
from .._records import record, rows

SkillModel = record(
    "SkillModel",
    __name__,
    "id user_id name",
    content="",
    description="",
    meta={},
    is_active=True,
    **rows("access_grants"),
)
Skill = SkillResponse = SkillUserResponse = SkillModel
SkillMeta = record("SkillMeta", __name__, tags=[])
SkillForm = record(
    "SkillForm", __name__, "id name content", description=None, meta={}, is_active=True, **rows("access_grants")
)


class SkillsTable(EmptyTable):
    """Skills: this server has none."""

    why = "This server keeps no skills."
    none = "get_skill_by_id get_skill_by_name"
    empty = "get_skills get_skills_by_user_id get_skills_by_ids"
    false = "delete_skill_by_id"
    writes = "insert_new_skill update_skill_by_id toggle_skill_by_id"


Skills = SkillsTable()
