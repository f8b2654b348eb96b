"""Knowledge bases: this server has none."""

from __future__ import annotations

from .._empty import EmptyTable
from .._records import record, rows

KnowledgeModel = record(
    "KnowledgeModel", __name__, "id user_id name", description="", **rows("meta access_grants created_at updated_at")
)
Knowledge = KnowledgeResponse = KnowledgeUserResponse = KnowledgeModel
KnowledgeForm = record("KnowledgeForm", __name__, "name", description="", **rows("access_grants"))


class KnowledgeTable(EmptyTable):
    """Knowledge bases: this server has none."""

    why = "This server keeps no knowledge bases; read files with open_webui.models.files."
    none = "get_knowledge_by_id get_knowledge_by_id_and_user_id"
    empty = (
        "get_knowledge_bases get_knowledge_bases_by_user_id get_knowledge_items get_files_by_id "
        "get_file_metadatas_by_id get_knowledges_by_file_id"
    )
    page = "search_knowledge_bases search_knowledge_files search_files_by_id"
    false = (
        "check_access_by_user_id delete_knowledge_by_id delete_all_knowledge has_file remove_file_from_knowledge_by_id"
    )
    writes = (
        "insert_new_knowledge add_file_to_knowledge_by_id update_knowledge_by_id "
        "update_knowledge_data_by_id reset_knowledge_by_id"
    )


Knowledges = KnowledgeTable()
