"""`evaluate`, then `card`: the commands, and what a reader of the card finds."""

import argparse
import hashlib
import json
import re

import numpy as np
import pytest
import torch

from sam import SAM
from sam.evaluation.card import compare, describe_steps
from sam.evaluation.command import add_card, add_evaluate
from sam.evaluation.curve import averaged, draw_curve, read_log
from sam.evaluation.report import Report, Row


def run(*words):
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    add_evaluate(commands)
    add_card(commands)
    options = parser.parse_args([str(word) for word in words])
    options.run(options)


def save_small_model(path, seed=0):
    torch.manual_seed(seed)
    model = SAM.from_variant("tiny", widths=(16, 16, 32, 32), depths=(1, 1, 1, 1), num_heads=2, out_chans=64)
    model.save(path)
    return path


def log_lines(steps):
    return "".join(
        json.dumps({"step": s, "size": 512 if s % 2 else 1024, "loss": 2 / s, "click_iou": None, "box_iou": s / steps})
        + "\n"
        for s in range(1, steps + 1)
    )


@pytest.fixture
def evaluated(pictures, tmp_path):
    """A folder with weights and, in `report`, what `evaluate` wrote for them."""
    weights = save_small_model(tmp_path / "small.safetensors")
    run("evaluate", "--data", pictures, "--checkpoint", weights, "--limit", 2, "--max-clicks", 5, "--device", "cpu",
        "--output", tmp_path / "report")  # fmt: skip
    return tmp_path


def test_evaluate_prints_a_table(pictures, tmp_path, capsys):
    run("evaluate", "--data", pictures, "--checkpoint", save_small_model(tmp_path / "small.safetensors"), "--limit", 1,
        "--max-clicks", 5, "--device", "cpu", "--no-baselines")  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| measure | squares (1 masks, 1 pictures) |" and "GrabCut" not in "".join(lines)


def test_evaluate_writes_report_and_contact_sheet(evaluated):
    written = {path.name for path in (evaluated / "report").iterdir()}
    assert written == {"report.json", "report.md", "contact-sheet-squares.png"}
    report = Report.from_dict(json.loads((evaluated / "report" / "report.json").read_text()))
    assert (evaluated / "report" / "report.md").read_text().startswith(report.as_markdown())


def test_a_card_tells_model_figures_training_sources_and_failures(evaluated, pictures):
    (evaluated / "metrics.jsonl").write_text(log_lines(40))
    (evaluated / "recipe.toml").write_text("seed = 7\n")
    (evaluated / "about.md").write_text("For tests.\n")
    (evaluated / "sources.md").write_text("## Sources\n\nSquares, CC0.\n")
    failures = [
        {"picture": "p0.png", "clicks": [[40, 30, 1]], "caption": "One click"},
        {"picture": "p1.png", "clicks": [[40, 30, 1], [5, 5, 0]], "box": [20, 20, 90, 80], "caption": "All at once"},
    ]
    (evaluated / "failures.json").write_text(json.dumps(failures))
    weights, files = evaluated / "small.safetensors", {"recipe": "recipe.toml", "log": "metrics.jsonl"}
    files |= {"about": "about.md", "sources": "sources.md", "failures": "failures.json"}
    run("card", "--weights", weights, "--evaluation", evaluated / "report" / "report.json", "--output",
        evaluated / "card", "--pictures", pictures / "squares",
        *(word for name, file in files.items() for word in (f"--{name}", evaluated / file)))  # fmt: skip

    card = (evaluated / "card" / "README.md").read_text()
    for part in ("# Model card: `small`", "For tests.", "TinyEncoder", "seed = 7", "Squares, CC0.", "*GrabCut*"):
        assert part in card, part
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in card
    assert "40 steps (50 % at 512 px, 50 % at 1024 px)" in card
    linked = re.findall(r"!\[(.+?)\]\((.+?)\)", card)
    assert [name for _, name in linked] == ["training.svg", "failure-1.jpg", "failure-2.jpg"]
    assert all((evaluated / "card" / name).stat().st_size for _, name in linked)
    assert str(evaluated) not in card  # nothing of this machine


def test_a_card_needs_no_more_than_weights_and_evaluation(evaluated):
    run("card", "--weights", evaluated / "small.safetensors", "--evaluation", evaluated / "report" / "report.json",
        "--name", "mine", "--output", evaluated / "card")  # fmt: skip
    assert [path.name for path in (evaluated / "card").iterdir()] == ["README.md"]
    headings = re.findall("^#+ .*", (evaluated / "card" / "README.md").read_text(), re.MULTILINE)
    assert headings == ["# Model card: `mine`", "## How good it is"]


def test_figures_of_other_weights_are_refused(evaluated):
    other = save_small_model(evaluated / "other.safetensors", seed=1)
    with pytest.raises(ValueError, match="evaluate these weights first"):
        run("card", "--weights", other, "--evaluation", evaluated / "report" / "report.json", "--output", evaluated)


def rows_with_lead(lead):
    rng = np.random.default_rng(0)
    for number in range(40):
        base = rng.uniform(0.2, 0.6)
        box = base + lead + rng.normal(0, 0.05)
        yield Row("s", f"p{number}", 0, 1, {"box": box, "GrabCut": base, "ellipse": base - 0.1, "rectangle": 0.1})


@pytest.mark.parametrize(
    ("lead", "verdict"), [(0.1, "better than"), (-0.1, "**worse** than"), (0.0, "not to be told from")]
)
def test_a_verdict_is_given_only_where_the_interval_allows_one(lead, verdict):
    (line,) = [line for line in compare(Report(tuple(rows_with_lead(lead)))) if "box" in line]
    assert f"box: {verdict} the best answer without a model, GrabCut" in line


def test_a_log_with_a_repeated_step_keeps_the_last(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(log_lines(4) + json.dumps({"step": 2, "size": 512, "loss": 9.0}) + "\n")
    log = read_log(path)
    assert [line["step"] for line in log] == [1, 2, 3, 4] and log[1]["loss"] == 9
    assert describe_steps(log).startswith("4 steps")


def test_an_empty_log_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"metrics\.jsonl: no step"):
        read_log(tmp_path / "metrics.jsonl")


def test_curves_average_many_steps_and_leave_nulls_out():
    log = [{"step": s, "loss": s % 2, "click_iou": 0.5 if s > 500 else None} for s in range(1, 1001)]
    steps, values = averaged(log, "loss", points=50)
    assert len(steps) == 50 and np.allclose(values, 0.5)
    assert averaged(log, "click_iou")[0].min() > 500
    assert len(averaged(log, "box_iou")[0]) == 0


def test_the_same_log_draws_the_same_curve(tmp_path):
    log = [{"step": s, "loss": 1 / s, "box_iou": 0.5} for s in range(1, 9)]
    for name in ("a.svg", "b.svg"):
        draw_curve(log, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "1 click" not in (tmp_path / "a.svg").read_text() and "loss" in (tmp_path / "a.svg").read_text()
