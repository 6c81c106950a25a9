"""`python -m sam.training fit|evaluate|card`: train and fine-tune any SAM, measure it, write its model card."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tqdm import tqdm

from ..checkpoint import load_sam
from ..config import VARIANTS
from ..datasets import find_records
from ..evaluation.command import add_card, add_evaluate
from ..model import SAM
from .loop import fit
from .recipe import Recipe


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m sam.training", description=__doc__)
    commands = parser.add_subparsers(required=True)
    add_fit(commands)
    add_evaluate(commands)
    add_card(commands)
    options = parser.parse_args()
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def add_fit(commands: argparse._SubParsersAction) -> None:
    """Describe the `fit` command."""
    fitting = commands.add_parser("fit", help="train or fine-tune; resumes where a killed run stopped")
    fitting.add_argument("--recipe", required=True, help="a TOML file, or the name of one in sam/training/recipes")
    start = fitting.add_mutually_exclusive_group(required=True)
    start.add_argument("--checkpoint", help="start from anything load_sam takes: tiny, a published file ...")
    start.add_argument("--variant", choices=VARIANTS, help="start from random weights")
    fitting.add_argument("--data", type=Path, required=True, help="layered masks, COCO JSON or SA-1B JSON")
    fitting.add_argument("--validation", type=Path, help="pictures to choose the best weights by, in the same layouts")
    fitting.add_argument("--output", type=Path, required=True, help="folder for checkpoint, metrics and model")
    fitting.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, cuda:1")
    fitting.add_argument(
        "--precision", choices=("fp32", "bf16"), default="fp32", help="bf16 pays on GPUs and on CPUs with AMX"
    )
    fitting.add_argument("--scale", type=float, default=1.0, help="multiply the recipe's steps, 0.01 to try it out")
    fitting.set_defaults(run=run_fit)


def run_fit(options: argparse.Namespace) -> None:
    """Train and show progress: loss, IoU of the batch's answers, masks a second, time left."""
    recipe = Recipe.read(options.recipe).scaled(options.scale)
    torch.manual_seed(recipe.seed)
    model = load_sam(options.checkpoint) if options.checkpoint else SAM.from_variant(options.variant)
    steps = fit(
        model.to(options.device).requires_grad_(True),
        find_records(options.data),
        recipe,
        options.output,
        validation=find_records(options.validation) if options.validation else (),
        dtype=torch.bfloat16 if options.precision == "bf16" else None,
    )
    with tqdm(total=recipe.steps, unit="step") as bar:
        for metrics in steps:
            bar.update(metrics.step - bar.n)
            bar.set_postfix_str(metrics.summary())
            if metrics.validation is not None:
                bar.write(f"step {metrics.step}: validation IoU {metrics.validation:.3f}")
    print(f"weights: {options.output / 'model.safetensors'}")


if __name__ == "__main__":
    main()
