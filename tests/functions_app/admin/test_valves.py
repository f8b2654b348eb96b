from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from functions_app.models import Valves
from functions_app.valves_form import BACK
from tests.builders import make_function
from tests.functions_app.admin.test_function import save
from tests.functions_app.sources import PIPE, SYNTAX_ERROR, with_valves

pytestmark = pytest.mark.django_db

URL = "/admin/functions_app/function/hello/valves/"
FIELDS = """API_KEY: str = Field("", description="<b>From</b> your provider.")
size: int = Field(3, ge=1, le=9)
url: str = "http://x"
"""


@pytest.fixture
def function():
    return make_function("hello", with_valves(FIELDS), name="Hello")


def errors(response):
    return response.context["form"].errors


def test_only_what_was_changed_is_set(admin, alice, function, told):
    response = save(admin, URL, size="5", API_KEY="sk-secret")
    row = Valves.objects.get()
    assert (row.values, row.changed_by) == ({"API_KEY": "sk-secret", "size": 5}, alice)
    assert told(response) == ["The valves of “Hello” were set."]
    assert "sk-secret" not in response.content.decode()
    save(admin, URL, size="6")
    assert Valves.objects.get().values == {"API_KEY": "sk-secret", "size": 6}
    save(admin, URL, **{"size" + BACK: "on"})
    assert Valves.objects.get().values == {"API_KEY": "sk-secret"}


def test_wrong_values_keep_what_was_typed(admin, function):
    response = save(admin, URL, size="99", url="http://typed")
    assert errors(response) == {"size": ["Ensure this value is less than or equal to 9."]}
    assert "http://typed" in response.content.decode()
    assert not Valves.objects.exists()


def test_the_functions_own_model_has_the_last_word(admin):
    lines = (
        "size: int = 3\n@field_validator('size')\n@classmethod\ndef even(cls, v):\n"
        "    if v % 2: raise ValueError('must be even')\n    return v"
    )
    make_function("hello", with_valves(lines).replace("BaseModel, Field", "BaseModel, Field, field_validator"))
    response = save(admin, URL, size="5")
    assert errors(response) == {"size": ["Value error, must be even"]}
    assert not Valves.objects.exists()


def test_a_secret_typed_into_a_wrong_form_has_to_be_typed_again_and_is_told_so(admin, function):
    page = save(admin, URL, size="99", API_KEY="sk-typed").content.decode()
    assert "Secrets are never shown again, so please type them once more." in page
    assert "sk-typed" not in page


def test_an_authors_descriptions_are_text_and_no_markup(admin, function):
    page = admin.get(URL).content.decode()
    assert "&lt;b&gt;From&lt;/b&gt; your provider." in page
    assert "<b>From" not in page


def test_valves_under_a_lost_key_are_said_and_can_be_set_anew(admin, function, settings):
    Valves.objects.create(function=function, values={"size": 5})
    settings.VALVE_KEYS = [Fernet.generate_key().decode()]
    response = admin.get(URL)
    assert "Valves.values cannot be decrypted" in response.content.decode()
    save(admin, URL, size="6")
    assert Valves.objects.get().values == {"size": 6}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (PIPE, "The live version of this function has no valves."),
        (SYNTAX_ERROR, "No version of this function is live, so there is nothing to configure yet."),
    ],
)
def test_nothing_to_configure_is_said(admin, source, text):
    make_function("hello", source)
    response = admin.get(URL)
    assert (response.status_code, text in response.content.decode()) == (200, True)
    assert admin.post(URL, {"size": "1"}).status_code == 200


def test_the_list_names_functions_that_have_valves(admin, function):
    make_function("plain", PIPE)
    page = admin.get("/admin/functions_app/valves/").content.decode()
    assert URL in page and "/plain/valves/" not in page


# --- Rules ---------------------------------------------------------------------------------------------------------

RULES = URL + "rules/"


def test_rules_are_set_box_by_box_and_hold_for_the_form_of_the_valves(admin, alice, function, told):
    response = save(admin, RULES, valves__size__maximum="5", valves__url__choices="http://x\nhttp://y")
    row = Valves.objects.get()
    assert row.rules == {"size": {"maximum": 5}, "url": {"choices": ["http://x", "http://y"]}}
    assert (row.user_rules, row.values, row.changed_by) == ({}, {}, alice)
    assert told(response) == ["The rules on the valves of “Hello” were set."]
    assert errors(save(admin, URL, size="6")) == {"size": ["Ensure this value is less than or equal to 5."]}
    save(admin, RULES, valves__size__maximum="", valves__url__choices="")
    assert Valves.objects.get().rules == {}


def test_a_fixed_value_is_shown_and_not_overwritten(admin, function):
    save(admin, URL, size="4", url="http://y")
    save(admin, RULES, valves__url__fixed="http://z", valves__size__fixed="5")
    page = admin.get(URL).content.decode()
    assert "http://z" in page and "Fixed by a rule." in page
    save(admin, URL, API_KEY="sk-1")
    assert Valves.objects.get().values == {"API_KEY": "sk-1"}
    assert Valves.objects.get().rules == {"url": {"fixed": "http://z"}, "size": {"fixed": 5}}


def test_wrong_rules_are_told_beside_their_boxes_and_kept(admin, function):
    response = save(admin, RULES, valves__size__minimum="30", valves__url__pattern="(typed")
    assert errors(response) == {
        "valves__size__minimum": ["The code's own maximum is 9: no value is left."],
        "valves__url__pattern": ["RE2 does not take this pattern: missing ): (typed."],
    }
    assert "(typed" in response.content.decode()
    assert errors(save(admin, RULES, valves__size__maximum="2")) == {
        "__all__": ['size: The code\'s own default, 3, breaks this rule. Say in "default" what holds instead.']
    }
    assert not Valves.objects.exists()


def test_a_secret_can_be_told_what_it_looks_like_and_nothing_that_could_be_read(admin, function):
    page = admin.get(RULES).content.decode()
    assert "valves__API_KEY__pattern" in page and "valves__API_KEY__fixed" not in page


def test_rules_need_the_permission_to_configure(function, staff):
    assert staff("view_function").get(RULES).status_code == 403
    assert staff("change_valves").get(RULES).status_code == 200


def test_a_function_with_user_valves_only_has_rules_too(admin):
    source = "from pydantic import BaseModel\n\n\n" + PIPE.replace(
        "class Pipe:\n",
        "class Pipe:\n    class UserValves(BaseModel):\n        tone: str = 'a'\n        on: bool = True\n\n",
    )
    make_function("hello", source)
    assert RULES in admin.get(URL).content.decode()
    save(admin, RULES, user_valves__tone__fixed="b", user_valves__on__fixed="false")
    assert Valves.objects.get().user_rules == {"tone": {"fixed": "b"}, "on": {"fixed": False}}


def test_secrets_inside_of_json_stay_where_their_mask_does(admin):
    fields = "logins: list[dict[str, str]] = []"
    make_function("hello", with_valves(fields), valves={"logins": [{"host": "a", "password": "p"}]})
    page = admin.get(URL)
    shown = page.context["form"]["logins"].value()
    assert "********" in shown and '"p"' not in shown
    save(admin, URL, logins='[{"host": "b", "password": "q"}, {"host": "a", "password": "********"}]')
    assert Valves.objects.get().values == {"logins": [{"host": "b", "password": "q"}, {"host": "a", "password": "p"}]}
    save(admin, URL, **{"logins" + BACK: "on"})
    assert Valves.objects.get().values == {}
