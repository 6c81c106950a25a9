"""Readers of strangers' files refuse what they cannot read in the one way that they promise; see `readers` for more."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.readers import READERS

EXAMPLES = 60
patient = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", READERS)
def test_its_beginnings_are_read_or_refused(name):
    for seed in READERS[name].seeds():
        READERS[name].try_on(seed)


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(name):
    reader = READERS[name]
    seeds = list(reader.seeds())

    @patient
    @given(st.data())
    def damage(data):
        file = bytearray(data.draw(st.sampled_from(seeds)))
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, max(0, len(file) - 1)))
            piece = data.draw(st.binary(max_size=8))
            file[at : at + data.draw(st.integers(0, 8))] = piece
        reader.try_on(bytes(file))

    damage()
