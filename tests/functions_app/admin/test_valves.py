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
