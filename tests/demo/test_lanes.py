"""Lanes: order, turns, bounds, room again afterwards, work that does not come back, and the end."""

import gc
import os
import sys
import threading
import time
import weakref
from contextlib import suppress
from types import SimpleNamespace

import pytest
from demo_world import Deadline, Hanging, wait_until
from hypothesis import given
from hypothesis import strategies as st

from demo.lanes import REPLACEMENTS, Lane
from demo.problems import Busy, Stalled


@pytest.fixture
def lane():
    lane = Lane("test", capacity=10, first_s=2.5)
    yield lane
    lane.close()


def test_work_runs_in_order_on_one_thread(lane):
    seen = []
    futures = [lane.submit(lambda i=i: seen.append((i, threading.get_ident()))) for i in range(8)]
    for future in futures:
        future.result(60)
    assert [i for i, _ in seen] == list(range(8))
    assert len({thread for _, thread in seen}) == 1


def test_as_many_pieces_run_at_once_as_there_are_workers():
    lane, both, gate = Lane("test", capacity=10, first_s=1, workers=2), threading.Barrier(3), threading.Event()
    running = [lane.submit(lambda: (both.wait(60), gate.wait())) for _ in range(2)]
    both.wait(60)
    waiting = lane.submit(int)
    assert lane.ahead_of(waiting) == 1 and not waiting.done()
    gate.set()
    assert waiting.result(60) == 0 and all(future.result(60) for future in running)
    lane.close()


def test_a_full_lane_refuses_and_says_when_to_come_back(lane):
    gate = threading.Event()
    lane.submit(gate.wait, weight=6)
    with pytest.raises(Busy) as refusal:
        lane.submit(gate.wait, weight=5)
    gate.set()
    assert refusal.value.headers == {"Retry-After": "3"}
    assert refusal.value.status == 503


def test_an_empty_lane_takes_work_of_any_weight(lane):
    assert lane.submit(lambda: "done", weight=1000).result(60) == "done"


def test_work_that_raises_gives_its_room_back(lane):
    with pytest.raises(ZeroDivisionError):
        lane.submit(lambda: 1 / 0, weight=9).result(60)
    assert lane.submit(lambda: "room", weight=9).result(60) == "room"


# ---- turns ----------------------------------------------------------------------------------------


@pytest.fixture
def held(lane):
    """A lane whose worker is held until the event is set, so that a line forms behind it."""
    gate = threading.Event()
    started = threading.Event()
    lane.submit(lambda: (started.set(), gate.wait()), weight=0)
    started.wait()
    yield gate
    gate.set()


def test_a_visitor_with_much_work_lets_others_have_their_turn(lane, held):
    seen = []
    for visitor, pieces in (("many", 4), ("one", 1), ("two", 2)):
        futures = [lane.submit(seen.append, f"{visitor} {i}", visitor=visitor) for i in range(pieces)]
    held.set()
    wait_for(lane)
    assert futures and seen == ["many 0", "one 0", "two 0", "many 1", "two 1", "many 2", "many 3"]


def test_the_place_in_line_is_the_order_in_which_work_is_done(lane, held):
    many = [lane.submit(int, visitor="many") for _ in range(3)]
    assert [lane.ahead_of(future) for future in many] == [1, 2, 3]
    one = lane.submit(int, visitor="one")
    assert [lane.ahead_of(future) for future in (*many, one)] == [1, 3, 4, 2]
    held.set()
    assert one.result(60) == 0 and lane.ahead_of(one) == 0


def test_no_visitor_fills_the_line(lane, held):
    taken = [lane.submit(int, visitor="greedy") for _ in range(5)]
    with pytest.raises(Busy, match="5 of them yours"):
        lane.submit(int, visitor="greedy")
    taken += [lane.submit(int, visitor="modest") for _ in range(2)]
    held.set()
    assert [future.result(60) for future in taken] == [0] * 7


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(1, 6)), max_size=60))
def test_whoever_has_nothing_in_line_waits_for_one_piece_of_each_of_the_others(pieces):
    lane, gate, started = Lane("test", capacity=40, first_s=1), threading.Event(), threading.Event()
    lane.submit(lambda: (started.set(), gate.wait()), weight=0)
    started.wait()
    seen, taken = [], {}
    for visitor, weight in pieces:
        with suppress(Busy):
            lane.submit(seen.append, visitor, weight=weight, visitor=visitor)
            taken[visitor] = taken.get(visitor, 0) + weight
    assert sum(taken.values()) <= 40
    late = lane.submit(seen.append, "late", weight=0, visitor="late")
    assert lane.ahead_of(late) <= 1 + len(taken)
    gate.set()
    late.result(60)
    lane.close()
    assert seen.index("late") <= len(taken)


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """Of all lanes: what `now` says, in seconds."""
    clock = SimpleNamespace(now=1000.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr("demo.lanes.time", clock)
    return clock


def test_those_who_are_sent_away_come_back_one_after_the_other(lane, held, clock):
    for _ in range(10):
        lane.submit(int)
    times = []
    for _ in range(4):
        with pytest.raises(Busy) as refusal:
            lane.submit(int)
        times.append(refusal.value.extensions["retry_after_s"])
    assert times == [5, 8, 10, 13]  # what runs weighs nothing; then a seat is free every 2.5 seconds, as is believed
    for _ in range(20):
        with pytest.raises(Busy) as refusal:
            lane.submit(int)
    assert refusal.value.extensions["retry_after_s"] == 28  # by then the whole line is gone


def test_when_to_come_back_is_learned_from_the_work(lane, clock):
    def work(seconds: float) -> None:
        clock.now += seconds

    for seconds in (0.5, 1.0, 1.5):
        lane.submit(work, seconds).result(60)
    gate = threading.Event()
    for _ in range(10):
        lane.submit(gate.wait)
    with pytest.raises(Busy) as refusal:
        lane.submit(int)
    gate.set()
    assert refusal.value.extensions["retry_after_s"] == 1


def test_who_would_wait_too_long_is_told_so_at_once_and_when_to_come_back():
    lane = Lane("test", capacity=1000, first_s=20, longest_wait_s=60)
    gate, started = threading.Event(), threading.Event()
    greedy = [lane.submit(lambda: (started.set(), gate.wait())[1], visitor="greedy") for _ in range(4)]
    started.wait()
    with pytest.raises(Busy, match="4 in line to test, 4 of them yours; one more would wait 80 seconds") as refusal:
        lane.submit(int, visitor="greedy")
    assert 20 <= refusal.value.extensions["retry_after_s"] <= 21, "as soon as one has ended"
    others = [lane.submit(int, visitor=f"visitor {number}") for number in range(2)]
    with pytest.raises(Busy, match="6 in line to test; one more would wait 80 seconds"):
        lane.require_room(visitor="another")
    gate.set()
    assert [future.result(60) for future in (*greedy, *others)] == [True] * 4 + [0] * 2
    lane.close()


# ---- faults ---------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch):
    """A lane whose deadlines pass when the test says so."""
    monkeypatch.setattr(threading, "Timer", Deadline)
    lane = Lane("test", capacity=10, first_s=1, deadline_s=0.1)
    yield lane
    lane.close()


def test_work_that_does_not_return_fails_and_the_rest_goes_on(impatient):
    work = Hanging()
    hanging, next_one = impatient.submit(work), impatient.submit(int)
    work.give_up()
    with pytest.raises(Stalled):
        hanging.result(60)
    assert next_one.result(60) == 0 and impatient.lost == 1 and not impatient.stalled
    work.let_go()
    wait_until(lambda: impatient.lost == 0)
    assert impatient.submit(int).result(60) == 0


def test_a_lane_that_has_lost_all_threads_says_so_until_one_comes_back(impatient):
    works = [Hanging() for _ in range(REPLACEMENTS + 1)]
    hanging = [impatient.submit(work) for work in works]
    waiting = impatient.submit(int)
    for work in works:
        work.give_up()
    for future in (*hanging, waiting):
        with pytest.raises(Stalled):
            future.result(60)
    assert impatient.stalled and len(impatient) == 0
    with pytest.raises(Stalled) as refusal:
        impatient.submit(int)
    assert refusal.value.status == 503 and refusal.value.headers["Retry-After"] == "1"
    works[0].let_go()
    wait_until(lambda: not impatient.stalled)
    assert impatient.submit(int).result(60) == 0
    for work in works:
        work.let_go()


def test_deadlines_pass_by_themselves():
    lane, gate = Lane("test", capacity=10, first_s=1, deadline_s=0.01), threading.Event()
    with pytest.raises(Stalled):
        lane.submit(gate.wait).result(60)
    gate.set()
    lane.close()


def test_a_refusal_holds_nothing_of_the_work_it_ends(lane):
    """Refused pictures would stay in memory until the next collection of cycles."""

    class Pixels:
        pass

    def refuse(pixels):
        raise Busy("no room", retry_after_s=1)

    pixels = Pixels()
    gone = weakref.ref(pixels)
    future = lane.submit(refuse, pixels)
    del pixels
    gc.disable()
    try:
        with pytest.raises(Busy):
            future.result(60)
        wait_until(lambda: gone() is None)
    finally:
        gc.enable()


def test_work_that_raises_anything_leaves_the_thread_alive(lane):
    with pytest.raises(SystemExit):
        lane.submit(sys.exit).result(60)
    assert lane.submit(int).result(60) == 0


def test_a_lane_that_refuses_answers_what_runs_and_what_waits(lane):
    gate, started, ended = threading.Event(), threading.Event(), threading.Event()
    running = lane.submit(lambda: (started.set(), gate.wait(), ended.set()))
    started.wait()
    waiting = lane.submit(int)
    lane.refuse(Busy("closing time", retry_after_s=3))
    for future in (running, waiting):
        with pytest.raises(Busy, match="closing time"):
            future.result(60)
    with pytest.raises(Busy, match="closing time"):
        lane.submit(int)
    gate.set()
    assert ended.wait(60)


def test_a_lane_that_drains_begins_only_what_will_have_ended(lane, held):
    futures = [lane.submit(int, expected_s=expected_s) for expected_s in (0, 1000, 0)]
    lane.drain(time.monotonic() + 600, Busy("the server restarts", retry_after_s=10))
    held.set()
    assert (futures[0].result(60), futures[2].result(60), lane.submit(int, expected_s=0).result(60)) == (0, 0, 0)
    with pytest.raises(Busy, match="the server restarts"):
        futures[1].result(60)
    with pytest.raises(Busy, match="the server restarts"):
        lane.submit(int, expected_s=1000).result(60)
    assert len(lane) == 0


def test_a_lane_that_has_drained_closes_without_what_does_not_end():
    lane, gate, started, ended = Lane("test", capacity=1, first_s=1), *(threading.Event() for _ in range(3))
    running = lane.submit(lambda: (started.set(), gate.wait(), ended.set()))
    started.wait()
    lane.drain(time.monotonic() + 600, Busy("the server restarts", retry_after_s=10))
    lane.close()  # or this would never return
    assert not ended.is_set()
    with pytest.raises(Busy, match="the server is stopping"):
        running.result(60)
    gate.set()
    assert ended.wait(60)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_a_nice_lane_steps_back_and_nobody_else_does():
    def niceness():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    lane, own = Lane("test", capacity=1, first_s=1, niceness=5), niceness()
    assert lane.submit(niceness).result(60) == min(own + 5, 19) and niceness() == own
    lane.close()


def wait_for(lane):
    wait_until(lambda: len(lane) == 0)
