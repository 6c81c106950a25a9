"""`python -m sam.training fit|evaluate`: train the embedded model, measure any model."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm import tqdm

from ..model import SAM
from .data import find_records
from .evaluate import evaluate
from .loop import Recipe, Stage, fit

RECIPE = Recipe(
    stages=(
        Stage(size=128, steps=1200, pictures=16, masks=8),
        Stage(size=256, steps=500, pictures=8, masks=8),
        Stage(size=512, steps=650, pictures=4, masks=8),
    )
)
"""For the embedded weights: prompts are learned on small pictures, edges on large ones.

The card of the shipped ones tells what differed."""


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m sam.training", description=__doc__)
    commands = parser.add_subparsers(required=True)

    fitting = commands.add_parser("fit", help="train the tiny model; resumes where a killed run stopped")
    fitting.add_argument("--data", type=Path, required=True, help="folder of pictures with layered masks")
    fitting.add_argument("--output", type=Path, required=True, help="folder for checkpoint, metrics and model")
    fitting.add_argument(
        "--precision", choices=("fp32", "bf16"), default="fp32", help="bf16 pays where the CPU has AMX"
    )
    fitting.add_argument("--compile", action="store_true", help="compile the decoder (needs a C++ compiler)")
    fitting.add_argument("--scale", type=float, default=1.0, help="multiply every stage's steps, 0.01 to try it out")
    fitting.set_defaults(run=run_fit)

    measuring = commands.add_parser("evaluate", help="mIoU for clicks and boxes, with baselines on the same prompts")
    measuring.add_argument("--data", type=Path, required=True, help="folder of pictures with layered masks")
    measuring.add_argument("--checkpoint", default="tiny", help="anything load_sam takes; default the embedded model")
    measuring.add_argument("--limit", type=int, help="use only so many pictures of each source")
    measuring.set_defaults(run=run_evaluate)

    options = parser.parse_args()
    options.run(options)


def run_fit(options: argparse.Namespace) -> None:
    """Train and show progress."""
    stages = tuple(
        Stage(stage.size, max(1, round(stage.steps * options.scale)), stage.pictures, stage.masks)
        for stage in RECIPE.stages
    )
    recipe = Recipe(**{**asdict(RECIPE), "stages": stages})
    torch.manual_seed(recipe.seed)
    model = SAM.from_variant("tiny")
    dtype = torch.bfloat16 if options.precision == "bf16" else None
    steps = fit(model, find_records(options.data), recipe, options.output, dtype=dtype, compiled=options.compile)
    with tqdm(total=recipe.steps, unit="step") as bar:
        for metrics in steps:
            bar.update(metrics.step - bar.n)
            bar.set_postfix_str(
                f"{metrics.size}px loss {metrics.loss:.3f} "
                f"click {metrics.click_iou or 0:.2f} box {metrics.box_iou or 0:.2f} "
                f"{metrics.masks_per_second:.0f} masks/s"
            )


def run_evaluate(options: argparse.Namespace) -> None:
    """Measure and print a Markdown table and JSON."""
    from ..checkpoint import load_sam

    report = evaluate(load_sam(options.checkpoint), find_records(options.data), limit=options.limit)
    print(report.as_markdown())
    print(json.dumps(report.as_dict()))


if __name__ == "__main__":
    main()
