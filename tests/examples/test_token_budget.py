from __future__ import annotations

from datetime import date

import pytest

ALICE = {"id": "alice", "role": "admin"}
BOB = {"id": "bob", "role": "user"}


async def ask(budget, user, text, answer="") -> None:
    question = {"role": "user", "content": text}
    await budget.inlet({"messages": [question]}, user)
    await budget.outlet({"messages": [question, {"role": "assistant", "content": answer}]}, user)


async def refusal(budget, user, text) -> tuple[int, str]:
    with pytest.raises(Exception) as raised:
        await budget.inlet({"messages": [{"role": "user", "content": text}]}, user)
    return raised.value.status_code, raised.value.detail


async def test_question_and_answer_are_counted_by_their_length(example):
    budget = example("token_budget", tokens_per_day=100)
    await ask(budget, BOB, "x" * 40, "y" * 80)
    assert budget.spent == {"bob": 30}
    await ask(budget, BOB, [{"type": "text", "text": "x" * 8}, {"type": "image_url"}], "")
    assert budget.spent == {"bob": 33}


async def test_a_request_that_the_rest_does_not_cover_is_refused(example):
    budget = example("token_budget", tokens_per_day=1000)
    await ask(budget, BOB, "x" * 3200)
    status, sentence = await refusal(budget, BOB, "x" * 4800)
    assert status == 429
    assert sentence == (
        "Your budget of 1,000 tokens a day does not cover this request: it needs about 1,200 tokens, and 199 are left. "
        "The count begins anew at midnight UTC."
    )
    await ask(budget, BOB, "x" * 400)


async def test_each_user_has_a_budget_of_their_own(example):
    budget = example("token_budget", tokens_per_day=10)
    await ask(budget, BOB, "x" * 36)
    await ask(budget, ALICE, "x" * 36)
    assert (await refusal(budget, BOB, "x"))[0] == 429


async def test_an_answer_may_exceed_the_budget_and_the_next_question_is_refused(example):
    budget = example("token_budget", tokens_per_day=10)
    await ask(budget, BOB, "x", "y" * 400)
    assert "and 0 are left" in (await refusal(budget, BOB, "x"))[1]


async def test_the_count_begins_anew_on_another_day(example):
    budget = example("token_budget", tokens_per_day=10)
    await ask(budget, BOB, "x" * 36)
    budget.day = date(2000, 1, 1)
    await ask(budget, BOB, "x" * 36)


async def test_a_users_own_limit_lowers_the_servers_and_never_raises_it(example):
    budget = example("token_budget", tokens_per_day=100)
    careful = BOB | {"valves": budget.UserValves(tokens_per_day=5)}
    greedy = ALICE | {"valves": budget.UserValves(tokens_per_day=1_000_000)}
    assert "Your budget of 5 tokens" in (await refusal(budget, careful, "x" * 40))[1]
    assert "Your budget of 100 tokens" in (await refusal(budget, greedy, "x" * 4000))[1]


async def test_administrators_can_be_exempt(example):
    budget = example("token_budget", tokens_per_day=0, exempt_admins=True)
    await ask(budget, ALICE, "x" * 4000, "y" * 4000)
    assert (await refusal(budget, BOB, "x"))[0] == 429


async def test_users_are_told_what_is_left_if_they_wish(example, emit, emitted):
    budget = example("token_budget", tokens_per_day=2000)
    for wishes in (budget.UserValves(), budget.UserValves(show_remaining=True)):
        await budget.outlet({"messages": [{"role": "assistant", "content": "y" * 40}]}, BOB | {"valves": wishes}, emit)
    description = "About 1,980 of 2,000 tokens are left today."
    assert emitted == [{"type": "status", "data": {"description": description, "done": True}}]
