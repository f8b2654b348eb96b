from __future__ import annotations

import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions_app.exchange.toml import to_toml

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    text | st.booleans() | st.integers() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(text, values, max_size=6))
def test_what_is_written_is_read_back(data):
    assert tomllib.loads(to_toml(data)) == data


def test_it_reads_as_a_person_would_write_it():
    data = {"name": "Sized", "policy": {}, "valves": {"size": 3, "tags": ["a", "b"], "a b": {"c": 1.5}}}
    assert to_toml(data) == (
        'name = "Sized"\npolicy = {}\n\n[valves]\nsize = 3\ntags = ["a", "b"]\n"a b" = {c = 1.5}\n'
    )


def test_null_is_refused():
    with pytest.raises(ValueError, match=r"^TOML has no NoneType\.$"):
        to_toml({"a": [None]})
