"""Which package brings a module, and what is to be said of imports that nobody declared or that a policy refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from packaging.utils import canonicalize_name

from functions_app.policy import Policy
from pipeline_app.runners.environments.names import DISTRIBUTIONS
from pipeline_app.worker.checking.findings import CODES, Finding
from pipeline_app.worker.imports import refusal

Json = dict[str, Any]

ALSO: dict[str, tuple[str, ...]] = {
    "cv2": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "psycopg2": ("psycopg2",),
    "faiss": ("faiss-gpu",),
    "PIL": ("pillow-simd",),
    "fitz": ("pymupdfb",),
    "pinecone": ("pinecone-client",),
    "Crypto": ("pycrypto",),
}
"""Other packages that bring the same module."""


def distribution_of(module: str) -> tuple[str, bool]:
    """Returns the package that brings a module, and whether that is known rather than guessed."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        known = DISTRIBUTIONS.get(".".join(parts[:length]))
        if known is not None:
            return known, True
    return parts[0].replace("_", "-"), False


def of_imports(imports: list[Json], declared: frozenset[str], policy: Policy) -> Iterator[Finding]:
    """Yields what is wrong with the imports that a worker told of; ``declared`` are normalised names of packages."""
    refused: set[str] = set()
    for entry in imports:
        top = entry["module"].partition(".")[0]
        if top not in refused and policy.refused_imports([top]):
            refused.add(top)
            yield _at(entry, "refused-import", refusal([top]), "error")
    explained = {name for entry in imports for name in _names_of(entry["module"])}
    unexplained = [name for name in declared if name not in explained]
    told: set[str] = set()
    for entry in imports:
        package, known = distribution_of(entry["module"])
        if entry["there"] or package in told or declared & _names_of(entry["module"]):
            continue
        if entry["module"].partition(".")[0] in refused:
            continue
        told.add(package)
        said, severity = _undeclared(entry, package, known, unexplained)
        yield _at(entry, "undeclared-import", said, severity)


def _names_of(module: str) -> set[str]:
    """Returns the normalised names of the packages that may bring a module."""
    package, _ = distribution_of(module)
    top = module.partition(".")[0]
    return {canonicalize_name(name) for name in (package, top, *ALSO.get(top, ()))}


def _undeclared(entry: Json, package: str, known: bool, unexplained: list[str]) -> tuple[str, str]:
    module, top = entry["module"], entry["module"].partition(".")[0]
    missing = f"{module if top in ('google', 'azure') else top} is not there"
    if entry["when"] == "maybe":
        return f"{missing}, and the source does without it then. To have it, add requirements: {package}.", "info"
    if unexplained and not known:
        names = ", ".join(unexplained[:5])
        return f"{missing} yet. If no requirement ({names}) brings it, add requirements: {package}.", "info"
    ending = "" if known else " (or whichever package brings it)"
    advice = f"Add a line requirements: {package} to the frontmatter{ending}."
    if entry["when"] == "call":
        return f"{missing}, so the function fails where it imports it. {advice}", "warning"
    return f"{missing}, so the source does not load. {advice}", "error"


def _at(entry: Json, code: str, said: str, severity: str) -> Finding:
    place = (entry["line"], entry["column"], entry["end_line"], entry["end_column"])
    return Finding(code, severity or CODES[code].severity, said, *place)
