"""Pictures for people: the right cases, in the right place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam.evaluation import Row, draw_contact_sheet, evaluate
from sam.evaluation.contact_sheet import CELL, choose_cases
from sam.evaluation.drawing import OUTLINE, Scene, draw_scene, window_around


def some_rows(scores):
    return [Row("any", f"p{i // 2}", 0, i, {"box": score}) for i, score in enumerate(scores)]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(1, 6))
def test_cases_are_of_distinct_pictures_and_best_first(scores, count):
    for cases in choose_cases(some_rows(scores), "box", count).values():
        assert 1 <= len(cases) <= count
        assert len({case.picture for case in cases}) == len(cases)
        assert [c.scores["box"] for c in cases] == sorted((c.scores["box"] for c in cases), reverse=True)


def test_best_median_and_worst_are_those():
    cases = choose_cases(some_rows(np.linspace(0, 1, 41)), "box", 3)
    assert cases["best"][0].scores["box"] == 1 and cases["worst"][-1].scores["box"] == 0
    assert cases["median"][1].scores["box"] == pytest.approx(0.5, abs=0.05)


def test_a_sheet_has_two_prompts_of_three_rows(perfect, records):
    sheet = draw_contact_sheet(evaluate(perfect, records, baselines=False), records, "squares")
    assert 3 * CELL[0] < sheet.width < 4 * CELL[0] and 6 * CELL[1] < sheet.height < 9 * CELL[1]
    # A perfect answer is framed by the true outline; both and the white paper are there.
    colours = {colour for _, colour in sheet.getcolors(sheet.width * sheet.height)}
    assert {OUTLINE, (255, 255, 255)} <= colours


def test_the_answer_is_tinted_where_it_lies_and_nowhere_else():
    image = np.full((50, 80, 3), 100, np.uint8)
    answer = np.zeros((50, 80), bool)
    answer[10:20, 30:60] = True
    drawing = np.asarray(draw_scene(Scene(image, answer), (0, 0, 80, 50), 1.0))
    assert np.array_equal((drawing != 100).any(-1), answer)


@given(st.integers(0, 30), st.integers(0, 40), st.integers(1, 20), st.integers(1, 20))
def test_a_window_shows_the_whole_mask_and_stays_inside(top, left, height, width):
    mask = np.zeros((50, 60), bool)
    mask[top : top + height, left : left + width] = True
    x0, y0, x1, y1 = window_around(mask)
    assert 0 <= x0 <= left < left + width <= x1 <= 60 and 0 <= y0 <= top < top + height <= y1 <= 50


def test_a_window_around_nothing_is_the_picture():
    assert window_around(np.zeros((50, 60), bool)) == (0, 0, 60, 50)
