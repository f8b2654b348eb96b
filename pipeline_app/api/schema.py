"""The schema of the API as one document: read off the route table, with what each view declares of itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema

Json = dict[str, Any]

PARAMETERS = {
    "action_id": "The id of an action; `{id}.{sub}` for one of several that a function offers.",
    "environment_id": "The id of a set of packages.",
    "event_id": "The id that the question came with.",
    "file_id": "The id of a file.",
    "function_id": "The id of a function.",
    "history_id": "The id of a version of a function.",
    "model_id": "The id of a model: a pipe, one of a pipe's several models as `function.id`, or a preset.",
    "name": "The name of the file, for programs that take it from the address; any will do.",
    "run_id": "The id of a run, from the header `X-Run-ID`.",
}
"""What the variables in paths are."""


class Description(AutoSchema):
    """How one method of one route is described."""

    def get_operation_id(self) -> str:
        return f"{_names()[self.path]}_{self.method.lower()}".replace("-", "_")

    def get_tags(self) -> list[str]:
        """Returns the resource, which is the module of the view."""
        module = type(self.view).__module__
        resource = module.partition("pipeline_app.api.")[2].partition(".")[0]
        return [resource or module.rpartition(".")[2]]

    def get_description(self) -> str:  # type: ignore[override]  # as drf-spectacular has it
        """Returns the docstring, and who may."""
        view: Any = self.view
        if view.is_open:
            needs = "Needs no key."
        else:
            permissions = view.permissions.get(self.method, ())
            needs = f"Scope of the key: {f'`{view.scope}`' if view.scope else 'any'}."
            if permissions:
                needs += f" Permission: {' or '.join(f'`{permission}`' for permission in permissions)}"
                needs += "".join(f", and `{permission}`" for permission in view.also_needed.get(self.method, ())) + "."
        return f"{_plain(super().get_description())}\n\n{needs}"

    def get_auth(self) -> list[Any]:
        view: Any = self.view
        return [] if view.is_open else super().get_auth()

    def get_response_serializers(self) -> Any:
        """Returns what is declared, without the refusals that an open route never gives."""
        declared: Any = super().get_response_serializers()
        view: Any = self.view
        if view.is_open and isinstance(declared, dict):
            return {status: shape for status, shape in declared.items() if status not in (401, 403, 429)}
        return declared

    def _resolve_path_parameters(self, variables: list[str]) -> list[Json]:
        parameters: list[Json] = super()._resolve_path_parameters(variables)
        for parameter in parameters:
            parameter["description"] = PARAMETERS.get(parameter["name"], "")
        return parameters


class KeyScheme(OpenApiAuthenticationExtension):
    """The two headers in which a key may come."""

    target_class = "pipeline_app.api.auth.KeyAuthentication"
    name = ["bearer", "x-api-key"]  # the base class's own way

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[Any]]]:
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[Json]:
        return [
            {"type": "http", "scheme": "bearer", "description": "An API key, `sk-...`."},
            {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same key."},
        ]


def routes(patterns: list[Any] | None = None, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Yields every route of the site with its path, variables as ``{name}``."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
        else:
            yield "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path), pattern


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    return {path: pattern.name or "" for path, pattern in routes()}


def _plain(docstring: str) -> str:
    """Returns a docstring as Markdown has it."""
    return docstring.replace("``", "`")


def named_components(result: Json, **_: Any) -> Json:
    """Makes a component of every shape that has a title, so that clients get a type of that name. A hook."""
    components: dict[str, Any] = result.setdefault("components", {}).setdefault("schemas", {})
    result["paths"] = _hoisted(result["paths"], components)
    result["components"]["schemas"] = dict(sorted(components.items()))
    return result


_VALUES = frozenset({"example", "examples", "default", "enum", "const"})
"""Keys of a shape that hold values, not shapes."""
_NAMES = frozenset({"properties", "patternProperties"})
"""Keys of a shape that hold shapes by names of the author's choice, ``title`` among them."""


def _hoisted(node: Any, components: dict[str, Any], *, by_name: bool = False) -> Any:
    if isinstance(node, list):
        return [_hoisted(item, components) for item in node]
    if not isinstance(node, dict):
        return node
    made = {
        name: value
        if name in _VALUES and not by_name
        else _hoisted(value, components, by_name=name in _NAMES and not by_name)
        for name, value in node.items()
    }
    if by_name:
        return made
    title = made.get("title")
    if not isinstance(title, str):
        return made
    name = re.sub(r"\W+", "", title.title() if " " in title else title)
    if components.setdefault(name, made) != made:
        raise ValueError(f"Two shapes have the title {title!r}; give one of them another.")
    return {"$ref": f"#/components/schemas/{name}"}


@lru_cache(maxsize=1)
def document() -> Json:
    """Returns the schema, the same as long as the process lives; the first call takes some tenths of a second."""
    found: Json = SchemaGenerator().get_schema(request=None, public=True)
    return found
