from __future__ import annotations

import pytest

NOTICE = "This answer was withheld because it does not follow the rules of this server."


async def judged(moderation, answer, emit=None) -> dict:
    question = {"role": "user", "content": "badword"}
    body = await moderation.outlet({"messages": [question, {"role": "assistant", **answer}]}, emit)
    assert body["messages"][0] == question
    return body["messages"][1]


@pytest.mark.parametrize(
    ("valves", "text", "withheld"),
    [
        ({"words": ["badword"]}, "a BadWord, see", True),
        ({"words": ["badword"]}, "badwords are others", False),
        ({"words": [" bad idea "]}, "a bad idea", True),
        ({"patterns": [r"\bsk-\w{8,}"]}, "the key is sk-0123456789", True),
        ({"patterns": [r"\bsk-\w{8,}"]}, "the key is secret", False),
        ({"words": [""]}, "anything", False),
        ({}, "badword", False),
    ],
)
async def test_an_answer_with_a_blocked_word_or_pattern_is_withheld(example, valves, text, withheld):
    answer = await judged(example("moderation", **valves), {"content": text})
    assert answer["content"] == (NOTICE if withheld else text)


async def test_reasoning_is_judged_and_withheld_as_well(example):
    moderation = example("moderation", words=["badword"], notice="No.")
    answer = await judged(moderation, {"content": "fine", "reasoning_content": "badword"})
    assert answer == {"role": "assistant", "content": "No."}


async def test_output_items_are_judged_and_replaced_as_well(example):
    items = [{"type": "message", "content": [{"type": "output_text", "text": "badword"}]}]
    answer = await judged(example("moderation", words=["badword"], notice="No."), {"content": "", "output": items})
    assert answer["output"] == [
        {
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "No."}],
        }
    ]


async def test_a_status_says_what_happened(example, emit, emitted):
    await judged(example("moderation", words=["badword"]), {"content": "fine"}, emit)
    assert emitted == []
    await judged(example("moderation", words=["badword"]), {"content": "badword"}, emit)
    assert emitted == [{"type": "status", "data": {"description": "The answer was withheld.", "done": True}}]


def test_a_pattern_that_is_none_is_refused_as_a_valve(example):
    with pytest.raises(ValueError, match=r"'\(' is not a regular expression: missing \), unterminated subpattern"):
        example("moderation", patterns=["("])
