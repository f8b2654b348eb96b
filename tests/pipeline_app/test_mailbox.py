"""What server processes leave each other: word that they are there, letters, frames, and runs of those that died."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import InterfaceError
from django.utils import timezone

from pipeline_app import mailbox
from pipeline_app.asking import QuestionAnswered, QuestionClosed, QuestionNotFound, Questions, patience
from pipeline_app.background import Backgrounds
from pipeline_app.models import Letter, Presence, Run, RunEvent
from pipeline_app.models.presence import this_process
from pipeline_app.models.run import GONE
from pipeline_app.runs import Record, RunLog, log
from pipeline_app.snapshot import person_of
from pipeline_app.story import Story, follow_stored
from pipeline_app.worker.emitter import Unanswered

pytestmark = pytest.mark.django_db


def long_ago(**more) -> object:
    return timezone.now() - timedelta(**more)


def run_of(user, **more) -> Run:
    given = {"request_id": "r", "outcome": "running", "started_at": timezone.now(), "wall_ms": 0, "background": True}
    return Run.objects.create(user=user, **given | more)


# --- Processes ------------------------------------------------------------------------------------------------


def test_a_process_is_there_until_it_has_said_nothing_for_a_while():
    assert this_process() == this_process()
    Presence.objects.note("a")
    Presence.objects.note("a")
    assert [p.name for p in Presence.objects.alive()] == ["a"]
    Presence.objects.update(seen_at=long_ago(seconds=40))
    assert not Presence.objects.alive().exists()
    assert Presence.objects.prune() == 0
    Presence.objects.update(seen_at=long_ago(days=2))
    assert Presence.objects.prune() == 1


def test_runs_of_processes_that_died_have_failed(bob):
    Presence.objects.note("alive")
    lost, going, over = run_of(bob, process="dead"), run_of(bob, process="alive"), run_of(bob, outcome="succeeded")
    assert set(Run.objects.under_way()) == {going}
    assert Run.objects.bury() == 1
    assert Run.objects.bury() == 0
    for run, outcome, error in ((lost, "failed", GONE), (going, "running", ""), (over, "succeeded", "")):
        run.refresh_from_db()
        assert (run.outcome, run.error) == (outcome, error)
    assert going.to_wire(inside=False)["wall_ms"] > 0


def test_how_a_run_ended_is_written_over_its_beginning(alice):
    record = Record(person_of(alice), "r", "chat", "m")
    record.background = True
    async_to_sync(record.announce)()
    began = Run.objects.get(pk=record.id)
    assert (began.outcome, began.background, began.process) == ("running", True, this_process())
    record.answer = {"choices": ["\0"]}
    record.end()
    log.write()
    ended = Run.objects.get(pk=record.id)
    assert (ended.outcome, ended.answer, ended.started_at) == ("succeeded", {"choices": ["\ufffd"]}, began.started_at)


# --- Letters --------------------------------------------------------------------------------------------------


def letter(**more) -> Letter:
    return Letter.objects.create(**{"run": str(uuid.uuid4()), "kind": "stop", "sender": "x"} | more)


def test_a_letter_is_taken_once_and_while_it_is_young():
    young, old = letter(value={"x": 1}), letter(created_at=long_ago(seconds=90))
    assert Letter.objects.waiting() == [young]
    taken = Letter.objects.take(young)
    assert (taken, taken.value) == (young, {"x": 1})
    assert Letter.objects.take(young) is None
    assert Letter.objects.waiting() == []
    assert Letter.objects.prune() == 0
    Letter.objects.filter(pk=old.pk).update(created_at=long_ago(hours=2))
    assert Letter.objects.prune() == 1


async def test_no_letter_is_written_where_there_is_no_other_process(alice):
    person = await sync_to_async(person_of)(alice)
    await sync_to_async(Presence.objects.note)(this_process())
    assert await mailbox.stop_elsewhere("nothing", person) is None
    assert not await sync_to_async(Letter.objects.exists)()


async def test_a_letter_that_nobody_takes_is_taken_back(alice, monkeypatch):
    monkeypatch.setattr(mailbox, "TAKEN_SECONDS", 0.1)
    monkeypatch.setattr(mailbox, "ASKED_SECONDS", 0.05)
    person = await sync_to_async(person_of)(alice)
    await sync_to_async(Presence.objects.note)("another")
    assert await mailbox._send(Letter(run="x", kind="stop", sender=person.id), 0.1) is None
    assert not await sync_to_async(Letter.objects.exists)()


async def test_nobody_waits_for_a_stop_that_every_process_has_passed_by(alice, monkeypatch):
    monkeypatch.setattr(mailbox, "ASKED_SECONDS", 0.01)
    person = await sync_to_async(person_of)(alice)
    boxes = [mailbox.Mailbox(lambda: None) for _ in range(3)]
    for box in boxes[:2]:
        await box._look()
    for name in ("a process", "another"):
        await sync_to_async(Presence.objects.note)(name)
    sending = asyncio.create_task(mailbox._send(Letter(run="x", kind="stop", sender=person.id), 600))
    async with asyncio.timeout(30):
        while not await sync_to_async(Letter.objects.exists)():
            await asyncio.sleep(0.01)
        for box in (boxes[0], boxes[0], boxes[2], boxes[2]):  # each counts once, and not who came after the letter
            await box._look()
        assert (await sync_to_async(Letter.objects.get)()).passed == 1
        await asyncio.wait({sending}, timeout=0.1)
        assert not sending.done()
        await boxes[1]._look()
        assert await sending is None
    assert not await sync_to_async(Letter.objects.exists)()


async def test_an_answer_waits_although_every_process_has_passed_it_by(alice, monkeypatch):
    """Its run was there a moment ago, and how that ended is not written yet."""
    monkeypatch.setattr(mailbox, "ASKED_SECONDS", 0.01)
    person = await sync_to_async(person_of)(alice)
    await sync_to_async(Presence.objects.note)("another")
    sending = asyncio.create_task(mailbox._send(Letter(run="x", kind="answer", sender=person.id), 600))
    async with asyncio.timeout(30):
        while not await sync_to_async(Letter.objects.update)(passed=1):
            await asyncio.sleep(0.01)
    await asyncio.wait({sending}, timeout=0.1)
    assert not sending.done()
    sending.cancel()
    await asyncio.wait({sending})


@pytest.mark.parametrize("trouble", [InterfaceError("connection already closed"), RuntimeError("can't start thread")])
async def test_a_process_goes_on_saying_that_it_is_there_whatever_happens_to_the_database(monkeypatch, trouble):
    """Others would take it for gone, and its runs for lost, as long as it lives."""
    note, tries = Presence.objects.note, []

    def noted(name):
        tries.append(name)
        if len(tries) == 1:
            raise trouble
        note(name)

    monkeypatch.setattr(mailbox, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(mailbox, "ASKED_SECONDS", 0.01)
    monkeypatch.setattr(Presence.objects, "note", noted)
    box = mailbox.Mailbox(lambda: None)
    looking = asyncio.create_task(box.keep_looking())
    async with asyncio.timeout(30):
        while not box.is_open:
            assert not looking.done()
            await asyncio.sleep(0.01)
    looking.cancel()
    await asyncio.wait({looking})
    assert len(tries) == 2


async def test_who_sent_a_letter_hears_when_it_could_not_be_followed(alice, monkeypatch):
    person = await sync_to_async(person_of)(alice)

    async def fail(*_):
        raise RuntimeError("no")

    monkeypatch.setattr(mailbox, "stop", fail)
    sent = await sync_to_async(letter)()
    await mailbox.Mailbox(lambda: None)._handle(sent, person)
    await sync_to_async(sent.refresh_from_db)()
    assert sent.reply == {"error": "failed"}


@pytest.mark.parametrize("trouble", [InterfaceError("connection already closed"), RuntimeError("can't start thread")])
def test_what_could_not_be_written_is_written_the_next_time(alice, monkeypatch, trouble):
    def fail(*_, **__):
        raise trouble

    record = Record(person_of(alice), "r", "chat", "m")
    record.steps.append({"function": "f", "version": 1, "hook": "pipe", "wall_ms": 1, "cpu_ms": 1})
    runs = RunLog()
    record.written = False
    monkeypatch.setattr("pipeline_app.runs.publish", fail)
    runs._waiting.append((record, 1.0))
    runs.used("key")
    with pytest.raises(type(trouble)):
        runs.write()
    assert not Run.objects.exists()
    assert list(runs._used) == ["key"]
    runs._used.clear()
    monkeypatch.undo()
    assert runs.write() == 1
    assert Run.objects.get().pk == record.id


# --- Questions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "seconds"),
    [
        ({"type": "confirmation", "data": {"timeout_ms": 1}}, 300),
        ({"type": "input", "data": None}, 300),
        ({"type": "confirmation", "data": {"tool_call": {"id": 1}}}, 120),
        ({"type": "request:user_input", "data": {}}, 120),
        ({"type": "request:user_input", "data": {"timeout_ms": 1}}, 60),
        ({"type": "request:elicitation", "data": {"timeout_ms": 10**400}}, 240),
        ({"type": "request:elicitation", "data": {"timeout_ms": 90_500}}, 90.5),
        ({"type": "request:elicitation", "data": {"timeout_ms": True}}, 120),
        ({"type": 5, "data": [1]}, 300),
    ],
)
def test_how_long_a_question_waits(question, seconds):
    assert patience(question) == seconds


async def test_a_question_is_answered_once_and_by_its_id():
    told = []
    questions = Questions(uuid.uuid4(), told.append)
    with pytest.raises(QuestionNotFound):
        questions.answer("nothing", 1)
    asking = asyncio.create_task(questions.ask({"type": "execute", "data": {"code": "1"}, "id": "forged"}))
    while not told:
        await asyncio.sleep(0.01)
    name = told[0]["id"]
    assert told[0] == {"type": "execute", "data": {"code": "1"}, "id": name, "run": questions.run, "call": True}
    assert questions.waiting
    questions.answer(name, {"error": "no such thing", "more": 1})
    assert await asking == {"error": "no such thing", "more": 1}
    with pytest.raises(QuestionAnswered):
        questions.answer(name, 1)
    assert told[1:] == [{"type": "request:interaction:done", "data": {"interaction_id": name}}]


async def test_who_leaves_answers_all_questions_with_an_error_that_is_false():
    told = []
    questions = Questions(uuid.uuid4(), told.append)
    asking = [asyncio.create_task(questions.ask({"type": "input", "data": {}})) for _ in range(3)]
    while len(told) < 3:
        await asyncio.sleep(0.01)
    questions.leave()
    for answer in [*[await task for task in asking], await questions.ask({"type": "input"})]:
        assert isinstance(answer, Unanswered)
        assert not answer
        assert answer == {"error": "Client session disconnected."}
    with pytest.raises(QuestionClosed):
        questions.answer(told[0]["id"], 1)


async def test_a_run_asks_so_often_and_no_more(settings, monkeypatch):
    settings.FUNCTIONS_ANSWER_SECONDS = 0.01
    monkeypatch.setattr("pipeline_app.asking.QUESTIONS_MOST", 2)
    questions = Questions(uuid.uuid4(), lambda event: None)
    answers = [await questions.ask({"type": "input", "data": {}}) for _ in range(3)]
    assert [answer["error"] for answer in answers[1:]] == [
        "Event call timed out. The browser tab may be inactive or closed.",
        "This run has asked too many questions.",
    ]


# --- Stories --------------------------------------------------------------------------------------------------


def frames(*numbers: int) -> bytes:
    return b"".join(b'data: {"n":%d}\n\n' % n for n in numbers)


async def read(followed) -> list[bytes]:
    return b"".join([part async for part in followed]).split(b"\n\n")[:-1]


def told(*numbers: int) -> list[bytes]:
    return [b'id: %d\ndata: {"n":%d}' % (n, n) for n in numbers]


async def test_a_story_is_told_from_any_number_on_from_memory_and_from_the_database(bob, monkeypatch):
    monkeypatch.setattr("pipeline_app.story.WRITE_SECONDS", 0.01)
    monkeypatch.setattr("pipeline_app.story.HELD_BYTES", 20)
    monkeypatch.setattr("pipeline_app.story.ROW_BYTES", 20)
    run = await sync_to_async(run_of)(bob)
    story = Story(run.pk)
    story.add(frames(1, 2) + b": a comment\n\n")
    writing = asyncio.create_task(story.keep_writing())
    following = asyncio.create_task(read(story.follow(0, 60)))
    await asyncio.sleep(0.1)
    assert not following.done()
    story.add(frames(3, 4, 5))
    story.end(b"data: [DONE]\n\n")
    await writing
    expected = [*told(1, 2, 3, 4, 5), b"id: 6\ndata: [DONE]"]
    assert await following == expected
    assert await sync_to_async(RunEvent.objects.count)() > 1
    await sync_to_async(Run.objects.update)(outcome="succeeded")
    for after in range(6):
        assert await read(story.follow(after, 60)) == expected[after:]
        assert await read(follow_stored(run.pk, after, 60)) == expected[after:]
    for after in (6, 7, 1000):
        assert await read(story.follow(after, 60)) == [b"data: [DONE]"]
        assert await read(follow_stored(run.pk, after, 60)) == [b"data: [DONE]"]


async def test_a_story_is_written_to_its_end_whatever_happens_to_the_database(bob, monkeypatch):
    monkeypatch.setattr("pipeline_app.story.WRITE_SECONDS", 0.01)
    monkeypatch.setattr("pipeline_app.story.AGAIN_SECONDS", 0.01)
    run = await sync_to_async(run_of)(bob)
    write, tries = Story._write, []

    def fail_once(story):
        tries.append(True)
        if len(tries) == 1:
            raise InterfaceError("connection already closed")
        write(story)

    monkeypatch.setattr(Story, "_write", fail_once)
    story = Story(run.pk)
    story.add(frames(1, 2))
    story.end(b"data: [DONE]\n\n")
    async with asyncio.timeout(30):
        await story.keep_writing()
    assert await read(follow_stored(run.pk, 0, 60)) == [*told(1, 2), b"id: 3\ndata: [DONE]"]


async def test_work_that_nobody_can_hear_any_more_is_ended(bob, caplog):
    """What it says would fill its channel, where it would wait for ever for a reader."""

    class Broken:
        def encode(self, pieces):
            raise ValueError("no frame")

        def error(self, error):
            return b'data: {"error":1}\n\ndata: [DONE]\n\n'

    ended = []

    async def work(channel):
        with record:
            try:
                while True:
                    await channel.send(["x"] * 300)
            finally:
                ended.append(True)

    record = Record(await sync_to_async(person_of)(bob), "r", "chat", "m")
    backgrounds = Backgrounds(lambda: None)
    await sync_to_async(Presence.objects.note)(this_process())
    await backgrounds.start(record, work, Broken(), interactive=False)
    async with asyncio.timeout(30):
        await asyncio.wait(set(backgrounds._runs))
    assert ended
    record.end()
    assert "no frame" in caplog.text


async def test_a_story_without_an_end_is_ended_for_its_followers(bob):
    run = await sync_to_async(run_of)(bob, outcome="failed", error=GONE)
    await sync_to_async(RunEvent.objects.create)(run_id=run.pk, number=2, data='{"n":1}\n{"n":2}')
    assert await read(follow_stored(run.pk, 0, 60)) == [
        *told(1, 2),
        b'data: {"error":{"message":"' + GONE.encode() + b'","type":"server_error","param":null,"code":"run_lost"}}',
        b"data: [DONE]",
    ]


async def test_who_waits_for_a_frame_gets_a_comment_now_and_then():
    story = Story(uuid.uuid4())
    assert await anext(story.follow(0, 0.01)) == b": keep-alive\n\n"


def test_frames_go_with_their_run(bob):
    run = run_of(bob)
    for run_id in (run.pk, uuid.uuid4()):
        RunEvent.objects.create(run_id=run_id, number=1, data="{}", created_at=long_ago(hours=2))
    RunEvent.objects.create(run_id=uuid.uuid4(), number=1, data="{}")  # of a run that is about to be written
    assert RunEvent.objects.prune(rows=10) == 1
    run.delete()
    assert RunEvent.objects.prune(rows=10) == 1


def test_so_many_frames_are_kept_and_the_oldest_runs_go_whole(bob):
    first, going, last = (run_of(bob, outcome=o, answer={"a": 1}) for o in ("succeeded", "running", "succeeded"))
    for number, run in enumerate((first, going, first, last, last), 1):
        RunEvent.objects.create(run_id=run.pk, number=number, data="{}")
    assert RunEvent.objects.prune(rows=5) == 0
    assert RunEvent.objects.prune(rows=3) == 2
    assert list(RunEvent.objects.order_by("pk").values_list("run_id", flat=True)) == [going.pk, last.pk, last.pk]
    assert {run.pk: run.answer for run in Run.objects.all()} == {first.pk: None, going.pk: {"a": 1}, last.pk: {"a": 1}}
