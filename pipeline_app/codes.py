"""Stored versions as runners know them: source, manifest, policy, and where their packages are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import F

from functions_app.models import Function, FunctionVersion
from functions_app.policy import Policy
from pipeline_app.runners.base import Code
from pipeline_app.runners.environments import Placed, placed

READ = ("id", "name", "kind", "live_id", "is_global", "created_at", "meta", "policy", "epoch")
"""What is read of every active function each time; its version, which has the source, only when it is new."""


class _Set(NamedTuple):
    """What of an environment says where it is; both are None where there is none."""

    digest: str
    kind: str


def code_in(
    epoch: str, function_id: str, version: FunctionVersion, policy: Policy, where: Placed | None = None
) -> Code:
    """Returns a version in an epoch, with its packages where its environment says, unless that is known already."""
    return Code(
        function_id,
        version.number,
        version.sha256,
        version.source,
        policy,
        version.manifest or {},
        version.pk,
        epoch,
        *(placed(version.environment) if where is None else where),
    )


def read_active(held: Mapping[str, Code], epoch: str) -> Iterator[tuple[Function, Code]]:
    """Yields all active functions with their live versions; of those ``held`` only a changed one is read again."""
    sets = {"set_digest": F("live__environment__digest"), "set_kind": F("live__environment__kind")}
    rows: list[Any] = list(Function.objects.active().only(*READ).annotate(**sets))
    fresh = [row.live_id for row in rows if row.id not in held or held[row.id].version != row.live_id]
    versions = {version.pk: version for version in FunctionVersion.objects.filter(pk__in=fresh)}
    for row in rows:
        policy, own = Policy.resolve(row.policy, settings.FUNCTIONS_POLICY), epoch + row.epoch
        # The same version may have got other packages.
        where = placed(_Set(row.set_digest, row.set_kind))
        version = versions.get(row.live_id)
        if version is not None:
            yield row, code_in(own, row.id, version, policy, where)
        else:
            yield row, replace(held[row.id], policy=policy, epoch=own, **where._asdict())
