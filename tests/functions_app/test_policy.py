from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from functions_app.policy import TIME_LIMITS, Policy


def resolve(stored=None, **settings_policy):
    return Policy.resolve(stored or {}, settings_policy)


def test_nothing_configured_gives_the_documented_defaults(settings):
    policy = resolve()
    assert policy == Policy(min_isolation=settings.FUNCTIONS_MIN_ISOLATION)
    assert (policy.on_error, policy.stream_mode, policy.network) == ("block", "pass", "public")
    assert (policy.cpu_limit, policy.memory_mb, policy.disk_mb, policy.output_mb) == (60, 512, 256, 16)
    assert (policy.threads, policy.concurrency, policy.sync_concurrency) == (256, 256, 128)
    assert {hook: policy.time_limit(hook) for hook in TIME_LIMITS} == dict(TIME_LIMITS)


def test_the_function_is_asked_first_then_the_installation():
    policy = resolve({"memory_mb": 1024}, defaults={"memory_mb": 256, "disk_mb": 10})
    assert (policy.memory_mb, policy.disk_mb) == (1024, 10)


def test_ceilings_cap_whatever_was_asked_for():
    policy = resolve(
        {
            "memory_mb": 4096,
            "network": "open",
            "grants": ["events", "users.write"],
            "allow": ["a.example", "b.example"],
        },
        ceilings={"memory_mb": 1024, "network": "none", "grants": ["events"], "allow": ["a.example"], "cpu_limit": 5},
    )
    assert (policy.memory_mb, policy.network, policy.cpu_limit) == (1024, "none", 5)
    assert (policy.grants, policy.allow) == (("events",), ("a.example",))


def test_an_isolation_ceiling_is_the_least_that_runs():
    assert resolve(ceilings={"min_isolation": "standard"}).min_isolation == "standard"
    assert resolve({"min_isolation": "strict"}, ceilings={"min_isolation": "standard"}).min_isolation == "strict"


def test_a_time_limit_for_all_hooks_never_raises_first_chunk_and_stream():
    policy = resolve({"time_limit": 600})
    assert (policy.time_limit("pipe"), policy.time_limit("inlet"), policy.time_limit("options")) == (600, 600, 600)
    assert (policy.time_limit("first_chunk"), policy.time_limit("stream")) == (60, 1)
    assert resolve({"time_limit": 0.5}).time_limit("stream") == 0.5


def test_a_time_limit_by_hook_changes_only_that_hook():
    policy = resolve({"time_limit": {"pipe": 5, "stream": 3}})
    assert (policy.time_limit("pipe"), policy.time_limit("stream"), policy.time_limit("inlet")) == (5, 3, 10)


def test_time_ceilings_cap_by_hook():
    policy = resolve({"time_limit": 600}, ceilings={"time_limit": {"pipe": 30}})
    assert (policy.time_limit("pipe"), policy.time_limit("inlet")) == (30, 600)
    assert resolve(ceilings={"time_limit": 20}).time_limit("pipe") == 20


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("on_error", "ignore", "Must be one of block, skip."),
        ("network", ["none"], "Must be one of none, public, open."),
        ("memory_mb", 64, "Must be a whole number of at least 128."),
        ("memory_mb", True, "Must be a whole number of at least 128."),
        ("memory_mb", "512", "Must be a whole number of at least 128."),
        ("memory_mb", float("inf"), "Must be a whole number of at least 128."),
        ("threads", 10**20, "Must be a whole number of at least 1."),
        ("cpu_limit", 0, "Must be a number greater than 0."),
        ("cpu_limit", float("nan"), "Must be a number greater than 0."),
        ("time_limit", {"inlets": 1}, f"There is no hook 'inlets'; limits are for {', '.join(TIME_LIMITS)}."),
        ("time_limit", {"inlet": -1}, "inlet: Must be a number greater than 0."),
        ("allow", "a.example", "Must be a list of hosts, host:port, *.domain or CIDR."),
        ("allow", ["a.example/path"], "'a.example/path' is not a host, host:port, *.domain or CIDR."),
        ("allow", ["a.example:99999"], "'a.example:99999' is not a host, host:port, *.domain or CIDR."),
        ("imports", {"deny": [], "allow": []}, 'Must be {"allow": [...]} or {"deny": [...]}; {} is no rule.'),
        ("imports", {"deny": ["os.path"]}, "'os.path' is not a top-level module."),
        ("memory", 1, None),
    ],
)
def test_a_wrong_field_is_named_with_a_sentence(field, value, message):
    with pytest.raises(ValidationError) as caught:
        Policy.clean({field: value})
    (text,) = caught.value.message_dict[field]
    assert text == message or (message is None and text.startswith("A policy has no field 'memory'; it has on_error,"))


@pytest.mark.parametrize(
    "entry", ["a.example", "a.example:443", "*.example.org", "10.0.0.0/8", "::1", "[::1]:80", "127.0.0.1"]
)
def test_addresses_that_may_be_allowed(entry):
    assert Policy.clean({"allow": [entry]}) == {"allow": [entry]}


def test_null_takes_a_field_back_to_its_default():
    assert Policy.clean({"network": None}) == {"network": None}


def test_import_rules_of_installation_and_ceiling_both_hold(settings):
    settings.FUNCTIONS_IMPORTS = {"deny": ["ctypes"]}
    assert resolve().refused_imports(["json", "ctypes.util"]) == ["ctypes"]
    both = resolve({"imports": {"allow": ["json", "ctypes"]}}, ceilings={"imports": {"deny": ["ctypes"]}})
    assert both.refused_imports(["json", "os", "ctypes"]) == ["ctypes", "os"]


def test_the_wire_form_is_plain_json_that_is_accepted_again():
    wire = resolve({"allow": ["a.example"], "imports": {"deny": ["os"]}, "min_isolation": "basic"}).to_wire()
    assert Policy.clean(wire) == wire
