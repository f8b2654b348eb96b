from __future__ import annotations

import pytest

CARD = "4111 1111 1111 1111"
IBAN = "GB82 WEST 1234 5698 7654 32"


async def redacted(filter_, text, metadata=None) -> str:
    body = await filter_.inlet({"messages": [{"role": "user", "content": text}]}, metadata)
    return body["messages"][0]["content"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to alice.b+c@mail.example.org.", "Write to [EMAIL_1]."),
        ("a@example.org, b@example.org, a@example.org", "[EMAIL_1], [EMAIL_2], [EMAIL_1]"),
        (f"Pay with {CARD}!", "Pay with [CARD_1]!"),
        ("4111111111111111 or 4111-1111-1111-1111", "[CARD_1] or [CARD_2]"),
        ("Amex 3782 822463 10005", "Amex [CARD_1]"),
        (f"{CARD} 737", "[CARD_1] 737"),
        (f"to {IBAN} please", "to [IBAN_1] please"),
        ("DE89370400440532013000 and gb82 west 1234 5698 7654 32", "[IBAN_1] and [IBAN_2]"),
        ("BE68 5390 0754 7034 IBAN", "[IBAN_1] IBAN"),
        ("Call +49 30 1234567 now", "Call [PHONE_1] now"),
        ("+49 (0)30 123-4567, 0044 20 7946 0958", "[PHONE_1], [PHONE_2]"),
        ("030 1234567, (030) 1234567, 0171/123 45 67", "[PHONE_1], [PHONE_2], [PHONE_3]"),
        ("06 12 34 56 78 or 0612345678", "[PHONE_1] or [PHONE_2]"),
        ("(415) 555-2671, 415-555-2671, 1-415-555-2671", "[PHONE_1], [PHONE_2], [PHONE_3]"),
    ],
)
async def test_personal_data_is_replaced(example, text, expected):
    assert await redacted(example("pii_redaction"), text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "On 2026-11-25 at 10:30, or 01-02-2026, or 05.11.2026",
        "4111 1111 1111 1112 has a wrong check digit",
        "DE88 3704 1144 1532 1130 11 has wrong check digits",
        "192.168.100.200 and version 10.20.30",
        "100 200 300 and 1,234,567 and 3.14159265358979",
        "user@localhost and @alice",
        "[EMAIL_1] as written by the user",
    ],
)
async def test_what_is_no_personal_data_stays(example, text):
    assert await redacted(example("pii_redaction"), text) == text


@pytest.mark.parametrize(
    ("valve", "kept"),
    [("emails", "a@example.org"), ("phones", "+49 30 1234567"), ("cards", CARD), ("ibans", IBAN)],
)
async def test_each_kind_has_its_valve(example, valve, kept):
    text = f"a@example.org; +49 30 1234567; {CARD}; {IBAN}"
    result = await redacted(example("pii_redaction", **{valve: False}), text)
    assert kept in result
    assert result.count("[") == 3


async def test_text_parts_and_all_roles_are_redacted(example):
    parts = [
        {"type": "text", "text": "a@example.org"},
        {"type": "image_url", "image_url": {"url": "data:a@example.org"}},
    ]
    messages = [
        {"role": "system", "content": "b@example.org"},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "a@example.org"},
    ]
    body = await example("pii_redaction").inlet({"messages": messages})
    contents = [message["content"] for message in body["messages"]]
    assert contents[0] == "[EMAIL_1]"
    assert contents[1][0]["text"] == contents[3] == "[EMAIL_2]"
    assert contents[1][1]["image_url"]["url"] == "data:a@example.org"


async def test_the_answer_gets_the_originals_back(example):
    redaction, metadata = example("pii_redaction"), {}
    await redacted(redaction, f"a@example.org pays with {CARD}", metadata)
    answer = {"role": "assistant", "content": "[EMAIL_1], your card [CARD_1] works, [CARD_9] does not."}
    body = await redaction.outlet({"messages": [{"role": "user", "content": "[EMAIL_1]"}, answer]}, metadata)
    assert body["messages"][1]["content"] == f"a@example.org, your card {CARD} works, [CARD_9] does not."
    assert body["messages"][0]["content"] == "[EMAIL_1]"


async def test_output_items_get_the_originals_back(example):
    redaction, metadata = example("pii_redaction"), {}
    await redacted(redaction, "a@example.org", metadata)
    item = {"type": "message", "content": [{"type": "output_text", "text": "[EMAIL_1]"}]}
    await redaction.outlet({"messages": [{"role": "assistant", "content": "[EMAIL_1]", "output": [item]}]}, metadata)
    assert item["content"][0]["text"] == "a@example.org"


async def test_the_answer_keeps_placeholders_when_they_are_not_to_be_restored(example):
    redaction, metadata = example("pii_redaction", restore=False), {}
    await redacted(redaction, "a@example.org", metadata)
    body = await redaction.outlet({"messages": [{"role": "assistant", "content": "[EMAIL_1]"}]}, metadata)
    assert body["messages"][0]["content"] == "[EMAIL_1]"


async def test_one_request_never_sees_the_data_of_another(example):
    redaction, alice, bob = example("pii_redaction"), {}, {}
    await redacted(redaction, "alice@example.org", alice)
    await redacted(redaction, "bob@example.org", bob)
    body = await redaction.outlet({"messages": [{"role": "assistant", "content": "[EMAIL_1]"}]}, bob)
    assert body["messages"][0]["content"] == "bob@example.org"
    assert "alice" not in str(alice)


@pytest.mark.parametrize("piece", ["1", "a", "0", "+49 1", "030-1", "4111 ", "DE89 ", "a.", "a@", "(0", "01 "])
async def test_the_time_grows_with_the_text_and_no_faster(example, piece):
    # A pattern that tries every way to split this would not end; the test run's own limit would.
    await redacted(example("pii_redaction"), piece * 100_000)
