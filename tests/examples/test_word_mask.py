from __future__ import annotations

import itertools
import random

import pytest


def chunk(text="", finish=None, field="content", index=0):
    delta = {field: text} if text else {}
    return {"id": "x", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


async def streamed(mask, pieces, field="content") -> list[str]:
    metadata = {}
    await mask.inlet({"messages": []}, metadata)
    chunks = [chunk(piece, field=field) for piece in pieces] + [chunk(finish="stop")]
    events = [await mask.stream(event, metadata) for event in chunks]
    return [event["choices"][0]["delta"].get(field, "") for event in events]


async def test_a_word_in_one_piece_is_masked(example):
    assert "".join(await streamed(example("word_mask"), ["oh darn, ", "what the HECK."])) == "oh ****, what the ****."


async def test_a_word_that_arrives_in_pieces_is_masked(example):
    assert await streamed(example("word_mask"), ["oh d", "a", "rn", "!"]) == ["oh ", "", "", "****!", ""]


async def test_the_end_of_the_stream_shows_what_was_held_back(example):
    assert await streamed(example("word_mask"), ["dar"]) == ["", "dar"]
    assert await streamed(example("word_mask"), ["darn"]) == ["", "****"]


async def test_everything_else_goes_out_at_once(example):
    assert await streamed(example("word_mask"), ["oh ", "dear", ", the"]) == ["oh ", "dear", ", the", ""]


async def test_parts_of_words_stay(example):
    text = "darned goshdarn heckler darn_it darn-it"
    for pieces in (text, [text], ["goshd", "arn darned"]):
        expected = "".join(pieces).replace("darn-it", "****-it")
        assert "".join(await streamed(example("word_mask"), pieces)) == expected


async def test_reasoning_is_masked_too(example):
    assert "".join(await streamed(example("word_mask"), ["da", "rn"], field="reasoning_content")) == "****"


async def test_wherever_a_text_is_cut_the_result_is_the_same(example):
    mask = example("word_mask", words=["darn", "darn it all", "no c++ here", "é"], mask="#")
    text = "Darn it all! darn it, darn it al; no c++ here: é née DARN IT ALL"
    expected = "###########! #### it, #### it al; ###########: # née ###########"
    chance = random.Random(7)
    for _ in range(200):
        cuts = sorted(chance.sample(range(1, len(text)), 12))
        pieces = [text[start:end] for start, end in itertools.pairwise([0, *cuts, len(text)])]
        assert "".join(await streamed(mask, pieces)) == expected


async def test_streams_and_choices_are_kept_apart(example):
    mask, alice, bob = example("word_mask"), {}, {}
    await mask.inlet({}, alice)
    await mask.inlet({}, bob)

    async def feed(metadata, text, finish=None, index=0):
        event = await mask.stream(chunk(text, finish, index=index), metadata)
        return event["choices"][0]["delta"].get("content", "")

    assert await feed(alice, "da") == await feed(bob, "he") == await feed(alice, "d", index=1) == ""
    assert await feed(alice, "ily") == "daily"
    assert await feed(bob, "ck", "stop") == "****"
    assert await feed(alice, "og", "stop", index=1) == "dog"


async def test_without_metadata_nothing_is_held_back(example):
    event = await example("word_mask").stream(chunk("oh dar"))
    assert event["choices"][0]["delta"]["content"] == "oh dar"


@pytest.mark.parametrize("event", [{"event": {"type": "status"}}, {"usage": {}, "choices": []}, {"error": {}}])
async def test_other_events_pass(example, event):
    assert await example("word_mask").stream(dict(event), {"word_mask": "k"}) == event


async def test_an_answer_that_does_not_stream_is_masked_in_the_outlet(example):
    messages = [{"role": "user", "content": "darn"}, {"role": "assistant", "content": "Darn! What the heck"}]
    body = await example("word_mask").outlet({"messages": messages})
    assert [message["content"] for message in body["messages"]] == ["darn", "****! What the ****"]


async def test_an_empty_list_masks_nothing(example):
    assert await streamed(example("word_mask", words=[" "]), ["darn it"]) == ["darn it", ""]
