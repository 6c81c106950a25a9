"""The commands `evaluate` and `card` of `python -m sam.training`."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from ..checkpoint import load_sam
from ..datasets import find_records
from .card import CardInputs, write_card
from .contact_sheet import draw_contact_sheet
from .measuring import evaluate
from .report import legend

CARD_FILES = {
    "weights": "the weights; evaluation and card are about them",
    "evaluation": "report.json, as `evaluate` wrote it for these weights",
    "log": "metrics.jsonl of the run",
    "recipe": "the run's recipe, a TOML file",
    "about": "Markdown to begin with: what the model is for",
    "sources": "Markdown about training data and terms, with its own heading",
    "failures": "JSON list of picture, clicks or box, and caption",
    "pictures": "folder of the failures' pictures",
}


def add_evaluate(commands: argparse._SubParsersAction) -> None:
    """Describe the `evaluate` command."""
    measuring = commands.add_parser("evaluate", help="measure clicks and boxes, with baselines on the same prompts")
    measuring.add_argument("--data", type=Path, required=True, help="layered masks, COCO JSON or SA-1B JSON")
    measuring.add_argument("--checkpoint", default="tiny", help="anything load_sam takes; default the embedded model")
    measuring.add_argument("--limit", type=int, help="use only so many pictures of each source")
    measuring.add_argument("--masks", type=int, default=6, help="masks a picture, at most")
    measuring.add_argument("--seed", type=int, default=0, help="which masks are drawn")
    measuring.add_argument("--max-clicks", type=int, default=10, help="when NoC, clicks needed, gives up")
    measuring.add_argument("--no-baselines", action="store_true", help="leave out what needs no model: half the time")
    measuring.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, cuda:1")
    measuring.add_argument("--output", type=Path, help="folder for report.json, report.md and contact sheets")
    measuring.set_defaults(run=run_evaluate)


def run_evaluate(options: argparse.Namespace) -> None:
    """Measure, print a Markdown table and, if asked, write report and contact sheets."""
    records = find_records(options.data)
    report = evaluate(
        load_sam(options.checkpoint, device=options.device),
        records,
        limit=options.limit,
        masks=options.masks,
        seed=options.seed,
        max_clicks=options.max_clicks,
        baselines=not options.no_baselines,
        progress=partial(tqdm, unit="picture"),
    )
    print(report.as_markdown())
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "report.json").write_text(json.dumps(report.as_dict()) + "\n")
        (options.output / "report.md").write_text(f"{report.as_markdown()}\n\n{legend(report)}\n")
        for source in report.by_source:
            draw_contact_sheet(report, records, source).save(options.output / f"contact-sheet-{source}.png")


def add_card(commands: argparse._SubParsersAction) -> None:
    """Describe the `card` command."""
    writing = commands.add_parser("card", help="write a model card with figures, training curve and failures")
    for name, meaning in CARD_FILES.items():
        writing.add_argument(f"--{name}", type=Path, required=name in ("weights", "evaluation"), help=meaning)
    writing.add_argument("--name", help="what to call the model; default the weights' file name")
    writing.add_argument("--output", type=Path, required=True, help="folder for README.md and its pictures")
    writing.set_defaults(run=run_card)


def run_card(options: argparse.Namespace) -> None:
    """Write a model card."""
    inputs = CardInputs(**{name: getattr(options, name) for name in CARD_FILES})
    write_card(inputs, options.output, options.name)
    print(options.output / "README.md")
