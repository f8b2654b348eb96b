from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions_app.policy import Policy
from pipeline_app.runners.addresses import (
    LINK_LOCAL,
    LOOPBACK,
    METADATA,
    NO_NETWORK,
    NOT_ALLOWED,
    PRIVATE,
    RESERVED,
    Pins,
    Rule,
    Rules,
    carried,
    effective,
    literal,
    not_public,
    plain_name,
)

address = ipaddress.ip_address
v4 = st.ip_addresses(v=4)
v6 = st.ip_addresses(v=6)


def wrapped(inner: ipaddress.IPv4Address) -> list[ipaddress.IPv6Address]:
    """Every way in which an IPv6 address leads to an IPv4 one."""
    number = int(inner)
    return [
        ipaddress.IPv6Address(value)
        for value in (
            0xFFFF << 32 | number,
            0xFFFF << 48 | number,
            0x64FF9B << 96 | number,
            0x2002 << 112 | number << 80,
            0x20010000 << 96 | 0x08080808 << 64 | 0x8000 << 48 | 0x1234 << 32 | number ^ 0xFFFFFFFF,
            0x26064700 << 96 | 0x5EFE << 32 | number,
            0x26064700 << 96 | 0x02005EFE << 32 | number,
        )
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("127.0.0.1", LOOPBACK),
        ("127.1.2.3", LOOPBACK),
        ("0.0.0.0", LOOPBACK),
        ("0.1.2.3", LOOPBACK),
        ("::", LOOPBACK),
        ("::1", LOOPBACK),
        ("::ffff:127.0.0.1", LOOPBACK),
        ("::ffff:0.0.0.0", LOOPBACK),
        ("::127.0.0.1", LOOPBACK),
        ("2002:7f00:1::", LOOPBACK),
        ("64:ff9b::127.0.0.1", LOOPBACK),
        ("10.0.0.1", PRIVATE),
        ("172.31.255.255", PRIVATE),
        ("192.168.1.1", PRIVATE),
        ("100.64.0.1", PRIVATE),
        ("fd12::1", PRIVATE),
        ("fec0::1", PRIVATE),
        ("64:ff9b::10.0.0.1", PRIVATE),
        ("169.254.1.1", LINK_LOCAL),
        ("fe80::1", LINK_LOCAL),
        ("169.254.169.254", METADATA),
        ("::ffff:169.254.169.254", METADATA),
        ("2002:a9fe:a9fe::", METADATA),
        ("100.100.100.200", METADATA),
        ("168.63.129.16", METADATA),
        ("fd00:ec2::254", METADATA),
        ("192.0.0.192", METADATA),
        ("192.0.0.8", RESERVED),
        ("198.18.0.1", RESERVED),
        ("203.0.113.5", RESERVED),
        ("224.0.0.251", RESERVED),
        ("240.0.0.1", RESERVED),
        ("255.255.255.255", RESERVED),
        ("ff02::1", RESERVED),
        ("2001:db8::1", RESERVED),
        ("64:ff9b:1::a00:1", RESERVED),
        ("4000::1", RESERVED),
        ("8.8.8.8", ""),
        ("1.1.1.1", ""),
        ("172.32.0.1", ""),
        ("2606:4700:4700::1111", ""),
        ("::ffff:8.8.8.8", ""),
        ("64:ff9b::8.8.8.8", ""),
    ],
)
def test_what_is_not_public_is_said(text, reason):
    assert not_public(address(text)) == reason


@given(v4)
def test_no_wrapping_makes_an_address_public(inner):
    reason = not_public(inner)
    for outer in wrapped(inner):
        if reason:
            assert not_public(outer), outer
        assert inner in carried(outer)


@given(st.one_of(v4, v6))
def test_a_public_address_is_global_by_python_as_well(any_address):
    if not not_public(any_address) and not carried(any_address):
        assert any_address.is_global
        assert not any_address.is_multicast


@given(st.one_of(v4, v6))
def test_none_without_an_allow_list_reaches_nothing_and_open_everything(any_address):
    assert Rules("none").refused(any_address, 80) == NO_NETWORK
    assert Rules("open").refused(any_address, 80) == ""


@given(st.one_of(v4, v6), st.integers(1, 65535))
def test_an_allowed_address_is_reached_in_every_mode_and_only_it(any_address, port):
    entry = f"[{any_address}]:{port}" if any_address.version == 6 else f"{any_address}:{port}"
    Policy.clean({"allow": [entry]})
    for network in ("none", "public", "open"):
        assert Rules(network, [entry]).refused(effective(any_address), port) == "" or carried(any_address)
    if not carried(any_address):
        strict = Rules("none", [entry])
        assert strict.refused(any_address, port) == ""
        assert strict.refused(any_address, port % 65535 + 1) == NOT_ALLOWED
        assert strict.refused(type(any_address)(int(any_address) ^ 1), port) == NOT_ALLOWED


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_none(text):
    name = plain_name(text)
    assert name == plain_name(name)
    assert name.isascii()
    assert " " not in name


@given(st.text(max_size=60))
def test_any_entry_that_a_policy_takes_is_a_rule(text):
    try:
        Policy.clean({"allow": [text]})
    except Exception:
        return
    rule = Rule.parse(text)
    assert bool(rule.name) or bool(rule.networks)


def test_an_allowed_name_holds_for_what_it_gave_and_for_nothing_else():
    rules = Rules("none", ["api.example.com:443"])
    assert rules.refused(address("93.184.216.34"), 443, ["api.example.com"]) == ""
    assert rules.refused(address("93.184.216.34"), 80, ["api.example.com"]) == NOT_ALLOWED
    assert rules.refused(address("93.184.216.34"), 443, ["evil.example"]) == NOT_ALLOWED
    assert rules.refused(address("93.184.216.34"), 443) == NOT_ALLOWED


def test_an_allowed_name_leads_to_private_addresses_but_never_to_the_machine_or_its_metadata():
    for network in ("none", "public"):
        rules = Rules(network, ["*.corp.example"])
        assert rules.refused(address("10.1.2.3"), 5432, ["db.corp.example"]) == ""
        assert rules.refused(address("127.0.0.1"), 5432, ["db.corp.example"]) == LOOPBACK
        assert rules.refused(address("::ffff:127.0.0.1"), 5432, ["db.corp.example"]) == LOOPBACK
        assert rules.refused(address("169.254.169.254"), 80, ["db.corp.example"]) == METADATA
        assert rules.refused(address("fe80::1"), 80, ["db.corp.example"]) == LINK_LOCAL


def test_localhost_on_the_list_is_both_loopback_addresses():
    rules = Rules("public", ["localhost:8080"])
    for text in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert rules.refused(address(text), 8080) == ""
        assert rules.refused(address(text), 8081) == LOOPBACK
    assert rules.refused(address("127.0.0.2"), 8080) == LOOPBACK


def test_networks_are_matched_by_where_a_connection_ends():
    rules = Rules("none", ["10.0.0.0/8", "::ffff:192.168.0.0/112", "fd00::/8"])
    assert rules.refused(address("10.200.0.1"), 1) == ""
    assert rules.refused(address("::ffff:10.200.0.1"), 1) == ""
    assert rules.refused(address("192.168.77.1"), 1) == ""
    assert rules.refused(address("192.169.0.1"), 1) == NOT_ALLOWED
    assert rules.refused(address("fd00::1"), 1) == ""
    assert Rules("public", ["::/0"]).refused(address("::ffff:127.0.0.1"), 1) == LOOPBACK


def test_a_star_is_for_names_below_a_domain():
    rule = Rule.parse("*.Example.com")
    assert rule.names("a.example.com")
    assert rule.names("a.b.example.com")
    assert not rule.names("example.com")
    assert not rule.names(".example.com")
    assert not rule.names("notexample.com")
    assert not rule.names("a.example.com.evil.org")


def test_names_are_refused_before_anybody_is_asked():
    assert Rules("none").refused_name("example.com") == NO_NETWORK
    assert Rules("none", ["10.0.0.0/8"]).refused_name("secret.tunnel.example") == NOT_ALLOWED
    assert Rules("none", ["example.com:443"]).refused_name("example.com") == ""
    assert Rules("none", ["example.com:443"]).refused_name("example.com", 80) == NOT_ALLOWED
    assert Rules("public").refused_name("example.com", 80) == ""


def test_names_are_plain():
    assert plain_name("API.Example.com.") == "api.example.com"
    assert plain_name("bücher.example") == "xn--bcher-kva.example"
    assert plain_name("a b") == ""
    assert plain_name("a\x00b") == ""
    assert plain_name("a" * 300) == ""
    assert literal("[::1]") == address("::1")
    assert literal("fe80::1%eth0") == address("fe80::1")
    assert literal("127.1") is None


def test_pins_are_bounded_and_keep_the_newest():
    pins = Pins()
    pins.add("old.example", [address("9.9.9.9")])
    for number in range(Pins.MOST):
        pins.add("many.example", [ipaddress.IPv4Address(0x08000000 + number)])
    assert pins.names(address("9.9.9.9")) == ()
    for number in range(20):
        pins.add(f"n{number}.example", [address("8.8.8.8")])
    assert pins.names(address("8.8.8.8")) == tuple(f"n{number}.example" for number in range(12, 20))
