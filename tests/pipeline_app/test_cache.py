"""The cache that keeps live objects."""

from __future__ import annotations

import threading
import types

import pytest

from pipeline_app.cache import ModuleCache


@pytest.fixture
def cache(request):
    made = ModuleCache(f"test-{request.node.name}", {"TIMEOUT": None, "OPTIONS": {"MAX_ENTRIES": 3}})
    yield made
    made.clear()


def test_the_same_object_comes_back(cache):
    module = types.ModuleType("anything")
    cache.set("a", module)
    assert cache.get("a") is module
    assert cache.get("b", "nothing") == "nothing"


def test_the_least_recently_used_goes_first(cache):
    for name in "abc":
        cache.set(name, name)
    cache.get("a")
    cache.set("d", "d")
    assert [name for name in "abcd" if cache.has_key(name)] == ["a", "c", "d"]
    assert len(cache) == 3


def test_add_keeps_what_is_there_and_prefixes_go_together(cache):
    assert cache.add("f:1", 1)
    assert not cache.add("f:1", 2)
    cache.set("g:1", 3)
    assert cache.delete_prefix("f:") == 1
    assert cache.get("f:1") is None
    assert cache.get("g:1") == 3


def test_a_timeout_ends_an_entry(cache):
    cache.set("a", 1, timeout=0)
    assert cache.get("a") is None
    assert not cache.touch("a")
    cache.set("b", 1, timeout=60)
    assert cache.touch("b", timeout=0)
    assert not cache.has_key("b")


def test_threads_see_one_cache(cache):
    threads = [threading.Thread(target=cache.set, args=(str(n % 3), n)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache) == 3
