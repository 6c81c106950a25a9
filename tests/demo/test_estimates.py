"""How long an encode will take, told from those before it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.service.estimates import EncodeTimes


def test_nothing_is_said_before_anything_is_known():
    assert EncodeTimes().expect(1_000_000) is None
    assert EncodeTimes(7.5).expect(1_000_000) == 7.5


def test_what_was_seen_counts_more_than_what_was_measured_before():
    times = EncodeTimes(7.5)
    times.learn(1_000_000, 9.0)
    assert times.expect(1_000_000) == 9.0


def test_pictures_of_another_size_tell_less_than_those_like_it():
    times = EncodeTimes()
    for _ in range(8):
        times.learn(50_000_000, 12.0)
    times.learn(400_000, 8.0)
    assert times.expect(500_000) == 8.0
    assert times.expect(45_000_000) == 12.0


def test_one_disturbed_encode_does_not_mislead():
    times = EncodeTimes()
    for seconds in (8, 8.2, 7.9, 31, 8.1):
        times.learn(1_000_000, seconds)
    assert times.expect(1_000_000) == pytest.approx(8.1)


def test_a_machine_that_became_slower_is_believed_after_three_encodes():
    times = EncodeTimes()
    for seconds in (8, 8, 8, 8, 8, 16, 16, 16):
        times.learn(1_000_000, seconds)
    assert times.expect(1_000_000) == 16


@given(
    runs=st.lists(st.tuples(st.integers(1, 10**8), st.floats(0.01, 100)), min_size=1, max_size=50),
    pixels=st.integers(1, 10**8),
)
def test_an_estimate_lies_between_what_was_seen(runs, pixels):
    times = EncodeTimes()
    for run in runs:
        times.learn(*run)
    seconds = [seconds for _, seconds in runs]
    assert min(seconds) <= times.expect(pixels) <= max(seconds)
