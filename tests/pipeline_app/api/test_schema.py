"""The schema of the API, and the page that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.validation import validate_schema

from pipeline_app.api.schema import document, named_components
from tests.pipeline_app.conftest import API
from tests.routes import doors

# --- The document ---------------------------------------------------------------------------------------


def test_the_schema_is_valid_and_nothing_in_it_was_guessed():
    validate_schema(document())
    assert (GENERATOR_STATS._error_cache, GENERATOR_STATS._warn_cache) == ({}, {})


def test_the_schema_lists_every_route():
    listed = {(method.upper(), path) for path, methods in document()["paths"].items() for method in methods}
    assert listed == {(door.method, door.template) for door in doors()}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_operation_has_a_name_of_its_own_a_summary_and_a_resource():
    names = [operation["operationId"] for _, _, operation in operations()]
    assert sorted(set(names)) == sorted(names)
    assert all(name.isidentifier() for name in names)
    assert [path for path, _, operation in operations() if not operation.get("summary")] == []
    assert [path for path, _, operation in operations() if len(operation["tags"]) != 1] == []


def test_every_variable_of_a_path_is_explained():
    bare = {
        parameter["name"]
        for _, _, operation in operations()
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "path" and not parameter.get("description")
    }
    assert bare == set(), "pipeline_app/api/schema.py PARAMETERS has their descriptions"


def test_keys_go_into_either_header_and_open_routes_need_none():
    schemes = document()["components"]["securitySchemes"]
    assert (schemes["bearer"]["scheme"], schemes["x-api-key"]["name"]) == ("bearer", "x-api-key")
    paths = document()["paths"]
    assert paths["/v1/models"]["get"]["security"] == [{"bearer": []}, {"x-api-key": []}]
    assert "security" not in paths["/healthz"]["get"]


def test_shapes_with_a_title_are_components():
    answer = document()["paths"]["/v1/models"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": "#/components/schemas/ModelList"}
    schemas = document()["components"]["schemas"]
    assert schemas["ModelList"]["properties"]["data"]["items"] == {"$ref": "#/components/schemas/Model"}
    assert "Error" in schemas


def test_who_may_is_said():
    said = document()["paths"]["/v1/models"]["get"]["description"]
    assert said.endswith("Scope of the key: `models`. Permission: `functions_app.use_function`.")


# --- Over HTTP ------------------------------------------------------------------------------------------------


def test_the_schema_comes_as_json_or_yaml_without_a_key(fresh_snapshot):
    api = API(None)
    answer = api.get("/api/schema/")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["openapi"] == "3.1.0"
    for asked in (
        api.get("/api/schema/?format=yaml"),
        api.get("/api/schema/", headers={"Accept": "application/yaml"}),
    ):
        assert asked.headers["content-type"] == "application/yaml"
        assert asked.text.startswith("openapi: 3.1.0\n")
    assert api.get("/api/schema/?format=xml").error["param"] == "format"


def test_the_page_loads_nothing_from_elsewhere_and_has_no_script_inside(fresh_snapshot):
    answer = API(None).get("/api/docs/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "://" not in answer.text
    assert "<script>" not in answer.text and "<style" not in answer.text and "style=" not in answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"]


# --- Components -----------------------------------------------------------------------------------------------

PET = {"title": "Pet", "type": "object", "properties": {"title": {"type": "string"}, "name": {"type": "string"}}}


def hoisted(*shapes: dict[str, Any]) -> dict[str, Any]:
    content = {str(number): {"schema": shape} for number, shape in enumerate(shapes)}
    return named_components({"paths": {"/": content}, "components": {"schemas": {}}})


def test_equal_shapes_are_one_component_and_a_property_may_be_called_title():
    result = hoisted(PET, {"type": "array", "items": PET})
    assert result["components"]["schemas"] == {"Pet": PET}
    assert result["paths"]["/"]["1"]["schema"]["items"] == {"$ref": "#/components/schemas/Pet"}


def test_values_in_a_shape_are_no_shapes():
    shape = {"type": "object", "example": {"title": "Greeter"}, "properties": {"example": {"title": "Deep"}}}
    result = hoisted(shape)
    assert result["paths"]["/"]["0"]["schema"]["example"] == {"title": "Greeter"}
    assert list(result["components"]["schemas"]) == ["Deep"]


def test_two_shapes_of_one_title_are_an_error():
    with pytest.raises(ValueError, match="Two shapes have the title 'Pet'"):
        hoisted(PET, {"title": "Pet", "type": "string"})
