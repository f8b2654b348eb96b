"""Which models there are, and which function answers for one."""

from __future__ import annotations

import json
import time

from tests.builders import make_function, make_model

MANIFOLD = """
class Pipe:
    def __init__(self):
        self.name = "shelf/"

    async def pipes(self):
        return [{"id": "upper", "name": "Upper"}, {"id": "lower.case/x", "name": "Lower"}, {"broken": True}]

    def pipe(self, body):
        return body["model"]
"""


def test_a_manifold_offers_its_parts_and_nothing_else(api, pipe):
    pipe("shelf", MANIFOLD)
    data = api.get("/v1/models").json
    assert data["object"] == "list"
    assert [m["id"] for m in data["data"]] == ["shelf.lower.case/x", "shelf.upper"]
    assert set(data["data"][0]) == {"id", "object", "created", "owned_by"}
    assert api.chat("shelf.upper").content == "shelf.upper"
    assert api.chat("shelf.lower.case/x").content == "shelf.lower.case/x"
    for unknown in ("shelf", "shelf.middle", "shelf."):
        answer = api.chat(unknown)
        assert (answer.status, answer.error["code"]) == (404, "model_not_found"), unknown
    assert api.get("/v1/models/shelf.lower.case/x").json["id"] == "shelf.lower.case/x"
    assert api.get("/v1/models/shelf.middle").status == 404


def test_open_webuis_list_has_names_presets_filters_and_actions(api, pipe, changed):
    pipe("shelf", MANIFOLD)
    make_function(
        "thinker",
        '"""\nicon_url: data:,x\n"""\nclass Filter:\n    def __init__(self):\n        self.toggle = True\n'
        "    def inlet(self, body):\n        return body\n",
        is_global=True,
    )
    report = make_function("report", "class Action:\n    def action(self, body):\n        return None\n")
    make_model("preset", name="A preset", base="shelf.upper", actions=[report])
    changed()
    data = {m["id"]: m for m in api.get("/api/models").json["data"]}
    assert "object" not in api.get("/api/v1/models").json
    assert data["shelf.upper"]["name"] == "shelf/Upper"
    assert data["shelf.upper"]["pipe"] == {"type": "pipe"}
    assert data["shelf.upper"]["filters"][0]["id"] == "thinker"
    assert data["shelf.upper"]["filters"][0]["icon"] == "data:,x"
    assert data["shelf.upper"]["actions"] == []
    assert data["preset"]["preset"] is True
    assert data["preset"]["info"]["base_model_id"] == "shelf.upper"
    assert [a["id"] for a in data["preset"]["actions"]] == ["report"]
    assert api.chat("preset").content == "shelf.upper"


def test_one_failing_provider_never_empties_the_list(api, pipe, settings):
    settings.FUNCTIONS_MODEL_LIST_SECONDS = 0
    pipe(
        "provider",
        """
class Pipe:
    def pipes(self):
        return [{"id": "a", "name": "A"}]
    def pipe(self, body):
        return "here"
""",
    )
    pipe("steady", "return 'steady'")
    pipe(
        "never",
        "class Pipe:\n    def pipes(self):\n        raise OSError('down')\n    def pipe(self, body):\n        return 1\n",
    )
    assert [m["id"] for m in api.get("/v1/models").json["data"]] == ["provider.a", "steady"]
    answer = api.chat("never.x")
    assert answer.status == 500
    assert answer.error["message"].startswith("down (OSError in function 'never', pipes")


def test_a_hanging_provider_is_given_up_after_its_deadline(api, pipe):
    pipe(
        "hanging",
        "import asyncio\n\nclass Pipe:\n    async def pipes(self):\n        await asyncio.sleep(60)\n"
        "    def pipe(self, body):\n        return 1\n",
        policy={"time_limit": {"pipes": 0.2}},
    )
    pipe("steady", "return 'steady'")
    assert [m["id"] for m in api.get("/v1/models").json["data"]] == ["steady"]


def test_a_provider_that_hung_once_holds_no_later_list_up(api, pipe, monkeypatch):
    monkeypatch.setattr("pipeline_app.pipes.OTHERS_WAIT", 0.2)
    pipe(
        "hanging",
        "import asyncio\n\nclass Pipe:\n    async def pipes(self):\n        await asyncio.sleep(60)\n"
        "    def pipe(self, body):\n        return 1\n",
        policy={"time_limit": {"pipes": 4}},
    )
    pipe("steady", "return 'steady'")
    for _ in range(2):  # asked for the first time, and while that goes on
        began = time.monotonic()
        assert [m["id"] for m in api.get("/v1/models").json["data"]] == ["steady"]
        assert time.monotonic() - began < 3
    assert "4 s" in api.chat("hanging.x").error["message"]
    time.sleep(2.1)  # no longer what failed a moment ago
    began = time.monotonic()
    assert [m["id"] for m in api.get("/v1/models").json["data"]] == ["steady"]
    assert time.monotonic() - began < 3


def test_changed_valves_are_asked_again_at_once(api, pipe, changed):
    from functions_app.models import Valves

    function = pipe(
        "valved",
        """
from pydantic import BaseModel

class Pipe:
    class Valves(BaseModel):
        parts: str = "a"
    def __init__(self):
        self.valves = self.Valves()
    def pipes(self):
        return [{"id": p, "name": p} for p in self.valves.parts.split(",")]
    def pipe(self, body):
        return "x"
""",
    )
    assert [m["id"] for m in api.get("/v1/models").json["data"]] == ["valved.a"]
    Valves.objects.set_values(function, {"parts": "b,c"}, None)
    changed()
    assert [m["id"] for m in api.get("/v1/models").json["data"]] == ["valved.b", "valved.c"]


def test_a_new_function_is_listed_and_callable_at_once_and_a_disabled_one_is_gone(api, pipe, changed):
    assert api.get("/v1/models").json["data"] == []
    function = pipe("fresh", "return 'new'")
    assert [m["id"] for m in api.get("/v1/models").json["data"]] == ["fresh"]
    assert api.chat("fresh").content == "new"
    function.is_active = False
    function.save()
    changed()
    assert api.get("/v1/models").json["data"] == []
    assert api.chat("fresh").status == 404


def test_an_edit_is_answered_by_the_next_request_and_a_broken_one_leaves_the_last_good_version(api, pipe, changed):
    function = pipe("editable", "return 'one'")
    assert api.chat("editable").content == "one"
    function.save_source("class Pipe:\n    def pipe(self, body):\n        return 'two'\n").publish()
    changed()
    assert api.chat("editable").content == "two"
    broken = function.save_source("class Pipe:\n    def pipe(self, body)\n        return 'three'\n")
    assert not broken.publish()
    changed()
    assert broken.error["type"] == "SyntaxError"
    assert broken.error["line"] == 2
    assert api.chat("editable").content == "two"


def test_the_models_a_function_sees_describe_what_was_asked_for(api, pipe, changed):
    pipe("teller", "import json\nreturn json.dumps(__metadata__['model'])", signature="self, body, __metadata__")
    make_model("preset", name="A preset", base="teller", params={"seed": 1})
    changed()
    model = json.loads(api.chat("preset").content)
    assert (model["id"], model["name"]) == ("preset", "A preset")
    assert model["info"]["params"] == {"seed": 1}
