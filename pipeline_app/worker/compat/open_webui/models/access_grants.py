"""Who may use what: answered for the caller, and for models, which alone are shared here."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from .._asking import Asking, Rows, Table, answers, asks
from .._calling import caller_id
from .._records import record, rows

AccessGrantModel = record(
    "AccessGrantModel", __name__, **rows("id resource_type resource_id principal_type principal_id permission")
)
AccessGrant = AccessGrantModel


class AccessGrantsTable(Table):
    """What functions ask about access."""

    elsewhere = MappingProxyType(
        {"grant_access revoke_access set_access_grants revoke_all_access": "Models are given to groups in the admin."}
    )

    @asks
    def has_access(
        self,
        user_id: str,
        resource_type: str,
        resource_id: str,
        permission: str = "read",
        user_group_ids: Any = None,
        db: Any = None,
    ) -> Asking:
        """Returns whether the caller may read a stored model or a file of theirs; False for anybody else."""
        if not user_id or str(user_id) != caller_id():
            return False
        if resource_type == "file":
            return (yield "files.get", {"id": str(resource_id)}) is not None
        if resource_type != "model" or permission != "read":
            return False
        return (yield "models.get", {"id": str(resource_id)}) is not None

    @answers
    def get_grants_by_resource(self, resource_type: str, resource_id: str, db: Any = None) -> Rows:
        """Returns no grants: access is a matter of groups here."""
        return Rows()


AccessGrants = AccessGrantsTable()
