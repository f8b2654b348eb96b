"""The token that says "something changed"."""

from __future__ import annotations

import asyncio

import pytest
from django.db import transaction

from functions_app import generation
from functions_app.generation import FilePublication, RedisPublication


def test_a_file_tells_each_half_apart_and_is_only_its_owners(tmp_path):
    published = FilePublication(tmp_path / "generation")
    functions, _ = published.read()
    published.publish(generation.PEOPLE, b"p" * 16)
    assert published.read() == (functions, b"p" * 16)
    assert FilePublication(tmp_path / "generation").read() == published.read()
    assert (tmp_path / "generation").stat().st_mode & 0o077 == 0


def test_a_file_that_was_deleted_is_followed(tmp_path):
    published = FilePublication(tmp_path / "generation")
    (tmp_path / "generation").unlink()
    other = FilePublication(tmp_path / "generation")
    published.publish(generation.FUNCTIONS, b"f" * 16)
    assert other.read() == published.read()


def test_a_truncated_file_is_a_change_and_no_crash(tmp_path):
    published = FilePublication(tmp_path / "generation")
    before = published.read()
    (tmp_path / "generation").write_bytes(b"")
    assert published.read() != before


@pytest.mark.django_db(transaction=True)
def test_a_change_is_published_after_its_commit_and_not_when_it_is_rolled_back():
    published = generation.publication()
    before = published.read()
    with transaction.atomic():
        generation.changed(generation.FUNCTIONS)
        assert published.read() == before
    after = published.read()
    assert after[0] != before[0]
    assert after[1] == before[1]
    assert generation.stored()[0] == after[0]
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        generation.changed(generation.FUNCTIONS)
        raise ZeroDivisionError
    assert published.read() == after
    assert generation.stored()[0] == after[0]


def test_redis_is_read_anew_for_whoever_arrives_while_a_read_is_under_way(redis_url):
    published = RedisPublication(redis_url)

    async def story():
        first = asyncio.ensure_future(published.current())
        await asyncio.sleep(0)
        await asyncio.to_thread(published.publish, generation.FUNCTIONS, b"n" * 16)
        seen = await asyncio.gather(*(published.current() for _ in range(20)))
        await first
        await published.close()
        return seen

    assert asyncio.run(story()) == [(b"n" * 16, b"")] * 20


def test_a_redis_that_is_gone_is_a_connection_error_and_a_change_still_succeeds():
    published = RedisPublication("redis://127.0.0.1:1/0")
    published.publish(generation.FUNCTIONS, b"x" * 16)
    with pytest.raises(ConnectionError, match="Redis does not answer"):
        asyncio.run(published.current())
