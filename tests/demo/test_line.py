"""A line: whose turn it is, what there is room for, and how long one more piece would wait."""

import heapq
from itertools import chain, count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.line import Line, Piece

visitors = st.sampled_from("abc")
seconds = st.integers(1, 40).map(float)
some = st.lists(st.tuples(visitors, seconds, st.integers(1, 9)), min_size=1, max_size=8)
comings = st.lists(some | st.just(["one ends"]), max_size=12).map(lambda parts: list(chain.from_iterable(parts)))
"""Pieces by visitor, seconds and weight; in between some end, so that it may be anybody's turn."""


def line_after(events: list, **bounds) -> Line:
    """A line to which all of these came that there was room for."""
    line = Line(**{"capacity": 10**9, "first_s": 1} | bounds)
    for event in events:
        if event != "one ends":
            visitor, expected_s, weight = event
            piece = Piece(int, weight, visitor, expected_s)
            if line.has_room(piece):
                line.add(piece)
        elif line.running:
            line.end(line.running[0])
        while len(line.running) < line.workers and line.begin():
            pass
    return line


def begins_after(line: Line, wanted: Piece) -> float:
    """Seconds until a piece begins when each takes as long as it is expected to, and nobody else comes."""
    numbers, now = count(), 0.0
    ends = [(line.expected_s(piece), next(numbers), piece) for piece in line.running]
    heapq.heapify(ends)
    while True:
        while len(line.running) < line.workers and (piece := line.begin()):
            if piece is wanted:
                return now
            heapq.heappush(ends, (now + line.expected_s(piece), next(numbers), piece))
        now, _, ended = heapq.heappop(ends)
        line.end(ended)


@given(comings, visitors, st.integers(1, 3))
def test_a_piece_waits_as_long_as_was_expected_and_with_several_workers_at_most_so(events, visitor, workers):
    line = line_after(events, workers=workers)
    longest_s = max(map(line.expected_s, [*line.running, *line.turns()]), default=0)
    expected_s, piece = line.wait_s(visitor), Piece(int, visitor=visitor)
    line.add(piece)
    waited_s = begins_after(line, piece)
    assert waited_s == pytest.approx(expected_s) if workers == 1 else waited_s <= expected_s + 1e-6
    assert expected_s <= waited_s + (workers - 1) / workers * longest_s + 1e-6


@given(comings)
def test_who_comes_new_waits_for_what_runs_and_one_piece_of_each_of_the_others(events):
    line = line_after(events)
    others = {piece.visitor for piece in line.turns()}
    longest_s = max(map(line.expected_s, line.turns()), default=0)
    assert line.wait_s("new") <= line.seconds(*line.running) + len(others) * longest_s


@given(st.integers(1, 100), st.integers(1, 100))
def test_whoever_sends_much_is_refused_before_anybody_else_is(pieces, longest_wait_s):
    line = line_after([("many", longest_wait_s / 2, 1)] * pieces, longest_wait_s=longest_wait_s)
    assert line.has_room(Piece(int, visitor="new"))
    assert len(line) == min(pieces, 3), "the third waits for two halves of the longest wait, a fourth would for three"


@given(comings, visitors, seconds, st.integers(1, 9), st.integers(0, 60))
def test_there_is_room_at_the_time_that_was_told(events, visitor, expected_s, weight, longest_wait_s):
    line = line_after(events, capacity=30, longest_wait_s=longest_wait_s)
    piece = Piece(int, weight, visitor, expected_s)
    room_in_s, passed_s = line.room_in_s(piece), 0.0
    assert room_in_s <= line.seconds(*line.running, *line.turns())
    while passed_s < room_in_s:
        passed_s += line.expected_s(line.running[0])
        line.end(line.running[0])
        line.begin()
    assert passed_s == room_in_s and line.has_room(piece)


@given(visitors, st.integers(0, 10**9), seconds)
def test_an_empty_line_takes_anything(visitor, weight, expected_s):
    assert Line(capacity=1, longest_wait_s=1, first_s=10**6).has_room(Piece(int, weight, visitor, expected_s))


def test_what_is_expected_of_pieces_is_learned_where_nobody_knows_better():
    line = Line(capacity=100, first_s=7)
    unknown, known = Piece(int), Piece(int, expected_s=3)
    assert (line.expected_s(unknown), line.expected_s(known)) == (7, 3)
    for measured_s in (1, 2):
        line.learn(measured_s)
    assert (line.expected_s(unknown), line.expected_s(known)) == (1.5, 3)
