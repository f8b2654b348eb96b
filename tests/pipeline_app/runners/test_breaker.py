"""When a breaker opens, for how long, and what closes it."""

from __future__ import annotations

import pytest

from pipeline_app.runners.breaker import Breaker, Breakers


class Clock:
    def __init__(self):
        self.time = 1000.0

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(clock)


def test_three_crashes_in_a_minute_open_it_for_half_a_minute(breaker, clock):
    assert breaker.crashed() is None
    clock.time += 29
    assert breaker.crashed() is None
    clock.time += 29
    assert breaker.crashed() == 30
    assert breaker.closed_in == 30
    clock.time += 31
    assert breaker.closed_in == 0


def test_crashes_far_apart_do_not(breaker, clock):
    for _ in range(10):
        assert breaker.crashed() is None
        clock.time += 31


def test_each_crash_soon_after_it_closed_doubles_its_time_up_to_five_minutes(breaker, clock):
    breaker.crashed()
    breaker.crashed()
    periods = [breaker.crashed()]
    for _ in range(5):
        clock.time += periods[-1] + 1
        periods.append(breaker.crashed())
    assert periods == [30, 60, 120, 240, 300, 300]


def test_after_a_quiet_minute_it_begins_anew(breaker, clock):
    for _ in range(3):
        breaker.crashed()
    clock.time += 30 + 61
    assert breaker.crashed() is None
    assert breaker.crashed() is None
    assert breaker.crashed() == 30


def test_a_crash_while_it_is_open_changes_nothing(breaker, clock):
    for _ in range(3):
        breaker.crashed()
    clock.time += 10
    assert breaker.crashed() is None
    assert breaker.closed_in == 20


def test_restarts_pause_longer_after_each_crash(breaker, clock):
    assert breaker.pause == 0
    breaker.crashed()
    assert breaker.pause == pytest.approx(0.1)
    breaker.crashed()
    assert breaker.pause == pytest.approx(0.5)
    clock.time += 0.4
    assert breaker.pause == pytest.approx(0.1)


def test_every_version_has_its_own_and_one_function_is_forgotten_at_a_time():
    breakers = Breakers()
    for key in ("a:1:", "a:2:", "ab:1:"):
        for _ in range(3):
            breakers.of(key).crashed()
    assert breakers.find("a:3:") is None
    assert breakers.open_of("a") is breakers.of("a:1:")
    breakers.forget("a")
    assert breakers.open_of("a") is None
    assert breakers.open_of("ab") is not None
    breakers.forget()
    assert breakers.open_of("ab") is None
