"""A whole evaluation, of models whose answers are known beforehand and of a small real one."""

import json

import numpy as np
import pytest
import torch

from sam import SAM
from sam.datasets import Record
from sam.evaluation import Report, evaluate
from sam.evaluation.measuring import first_of_each_source
from sam.evaluation.report import MODEL_MEASURES, legend


def means(report):
    (source,) = report.by_source
    return {measure: report.interval(source, measure).mean for measure in report.measures()}


def test_a_model_that_is_always_right_needs_one_click(perfect, records):
    scores = means(evaluate(perfect, records, baselines=False))
    for measure in ("1 click", "oracle of 3", "3 clicks", "5 clicks", "box", "boundary F, 1 click", "boundary F, box"):
        assert scores[measure] == pytest.approx(1), measure
    for measure in ("NoC@80", "NoC@85", "NoC@90"):
        assert scores[measure] == 1
    assert scores["IoU error, 1 click"] == scores["IoU bias, 1 click"] == 0  # it predicts 1


def test_a_model_that_is_right_from_the_fourth_click_on_needs_four(answering, records):
    def late(image, clicks):
        right = image[..., 0] > image[..., 2]
        return right if clicks >= 4 else right & (np.arange(right.shape[1]) % 2 == 0)

    scores = means(evaluate(answering(late), records, baselines=False))
    assert scores["1 click"] == scores["3 clicks"] == scores["box"] == pytest.approx(0.5)
    assert scores["5 clicks"] == 1 and scores["NoC@80"] == scores["NoC@90"] == 4
    assert scores["IoU bias, 1 click"] == scores["IoU error, 1 click"] == pytest.approx(0.5)


def test_a_model_that_never_learns_is_given_up_at_the_cap(answering, records):
    model = answering(lambda image, clicks: np.zeros(image.shape[:2], bool))
    for cap in (5, 7):
        scores = means(evaluate(model, records, max_clicks=cap, baselines=False))
        assert scores["NoC@80"] == cap and scores["5 clicks"] == 0


def test_fewer_clicks_than_are_reported_are_refused(perfect, records):
    with pytest.raises(ValueError, match="max_clicks 4 must be at least 5"):
        evaluate(perfect, records, max_clicks=4)


def test_baselines_answer_the_same_prompts(perfect, records):
    report = evaluate(perfect, records)
    scores = means(report)
    assert scores["ellipse"] == pytest.approx(np.pi / 4, abs=0.03)
    assert scores["rectangle"] == 1  # the masks are rectangles of one colour
    assert scores["wand"] > 0.98 and scores["GrabCut"] > 0.95
    assert scores["disc"] == max(np.mean([row.scores[f"disc {r:g}"] for row in report.rows]) for r in (0.12, 0.16, 0.2))


def test_a_small_real_model_is_measured_by_every_measure(records):
    torch.manual_seed(0)
    model = SAM.from_variant("tiny", widths=(16, 16, 32, 32), depths=(1, 1, 1, 1), num_heads=2, out_chans=64).eval()
    report = evaluate(model, records, limit=1, max_clicks=5, baselines=False)
    scores = means(report)
    assert len(report.rows) == 1 and scores.keys() == MODEL_MEASURES.keys()
    assert scores["oracle of 3"] >= scores["1 click"]
    assert abs(scores["IoU bias, 1 click"]) == pytest.approx(scores["IoU error, 1 click"])
    assert report.model["weights"] == model.weights_hash()


class Blocks(Record):
    """A picture without files: nine equal segments, of which a seed draws some."""

    def image(self):
        return np.zeros((90, 90, 3), np.uint8)

    def layers(self):
        return (np.kron(np.arange(1, 10).reshape(3, 3), np.ones((30, 30))).astype(np.int32),)


def test_a_limit_does_not_change_which_masks_are_drawn(perfect):
    records = [Blocks(None, source, f"p{n}") for source in "ab" for n in range(3)]
    limited, whole = (evaluate(perfect, records, limit=n, max_clicks=5, baselines=False).rows for n in (2, None))
    assert [row.picture for row in limited] == ["p0"] * 6 + ["p1"] * 6 + ["p0"] * 6 + ["p1"] * 6
    assert list(limited) == [row for row in whole if row.picture != "p2"]


def test_a_limit_holds_for_each_source():
    numbers = [number for number, _ in first_of_each_source([Blocks(None, s, "p") for s in "aaabab"], 2)]
    assert numbers == [0, 1, 3, 5]


def test_progress_sees_every_picture(perfect, records):
    seen = []
    evaluate(perfect, records, baselines=False, progress=lambda all: (seen.append(r) or r for r in all))
    assert len(seen) == 3


def test_pictures_without_a_mask_to_ask_for_are_an_error(perfect, records):
    with pytest.raises(ValueError, match="none of 3 pictures"):
        evaluate(perfect, records, masks=0)


def test_a_report_survives_being_stored(perfect, records):
    report = evaluate(perfect, records)
    stored = json.loads(json.dumps(report.as_dict()))
    again = Report.from_dict(stored)
    assert again.as_markdown() == report.as_markdown() and legend(again) == legend(report)
    assert stored["sources"]["squares"]["masks"] == 3
    assert stored["sources"]["squares"]["measures"]["1 click"] == {"mean": 1, "low": 1, "high": 1}


def test_other_json_is_not_taken_for_a_report():
    with pytest.raises(ValueError, match="not a report"):
        Report.from_dict({"loss": 1})


def test_the_table_has_a_line_a_measure_and_a_column_a_source(perfect, records):
    lines = evaluate(perfect, records).as_markdown().splitlines()
    assert lines[0] == "| measure | squares (3 masks, 3 pictures) |"
    assert "| 1 click | 1.000 (1.000 to 1.000) |" in lines
    assert any(line.startswith("| *GrabCut* |") for line in lines)
    assert len({line.count("|") for line in lines}) == 1


def test_a_lead_is_measured_mask_by_mask(perfect, records):
    report = evaluate(perfect, records)
    lead = report.lead("squares", "box", "ellipse")
    assert lead.mean == pytest.approx(1 - np.pi / 4, abs=0.03) and lead.low > 0.1
