"""Lanes: order, bounds, and room again afterwards."""

import threading

import pytest

from demo.lanes import Lane
from demo.problems import Busy


@pytest.fixture
def lane():
    lane = Lane("test", capacity=10, retry_after_s=2.5)
    yield lane
    lane.close()


def test_work_runs_in_order_on_one_thread(lane):
    seen = []
    futures = [lane.submit(lambda i=i: seen.append((i, threading.get_ident()))) for i in range(8)]
    for future in futures:
        future.result(5)
    assert [i for i, _ in seen] == list(range(8))
    assert len({thread for _, thread in seen}) == 1


def test_a_full_lane_refuses_and_says_when_to_come_back(lane):
    gate = threading.Event()
    lane.submit(gate.wait, weight=6)
    with pytest.raises(Busy) as refusal:
        lane.submit(gate.wait, weight=5)
    gate.set()
    assert refusal.value.headers == {"Retry-After": "3"}
    assert refusal.value.status == 503


def test_an_empty_lane_takes_work_of_any_weight(lane):
    assert lane.submit(lambda: "done", weight=1000).result(5) == "done"


def test_work_that_raises_gives_its_room_back(lane):
    with pytest.raises(ZeroDivisionError):
        lane.submit(lambda: 1 / 0, weight=9).result(5)
    assert lane.submit(lambda: "room", weight=9).result(5) == "room"
