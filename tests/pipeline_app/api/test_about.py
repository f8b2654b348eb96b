"""What a client of Open WebUI asks first: the version, the features, and what models can be made of."""

from __future__ import annotations

from functions_app.system_events import VERSION
from tests.builders import make_model


def test_the_version_is_that_of_the_api(api):
    assert api.get("/api/version").json == {
        "version": VERSION,
        "server": {"name": "webui-functions", "version": "0.1.0"},
    }


def test_the_features_are_those_there_are(api):
    told = api.get("/api/config").json
    assert (told["status"], told["version"], told["features"]["enable_functions"]) == (True, VERSION, True)
    assert told["features"]["enable_websocket"] is False


def test_base_models_are_those_of_pipes_whatever_presets_say(api, bobs_api, pipe, changed):
    pipe("echo", "return 'x'")
    make_model("echo", name="Closed", is_active=False)
    make_model("preset", base="echo", meta={"tags": ["a", {"name": "b"}, 5]})
    changed()
    assert [model["id"] for model in api.get("/api/models").json["data"]] == ["preset"]
    assert api.get("/api/models/preset").json["tags"] == [{"name": "a"}, {"name": "b"}]
    for path in ("/api/models/base", "/api/v1/models/base"):
        (model,) = api.get(path).json["data"]
        assert (model["id"], model["name"], model["pipe"]) == ("echo", "echo", {"type": "pipe"})
        assert not {"filters", "actions", "info"} & set(model)
    assert bobs_api.get("/api/models/base").status == 403


def test_a_model_without_a_preset_has_no_tags(api, pipe):
    pipe("echo", "return 'x'")
    assert api.get("/api/models/echo").json["tags"] == []
