"""`python -m sam.bench`: everything mode and encoder against `segment_anything`, interleaved; and merging of tiles."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from .encoder import compete_encoders, encoders_as_markdown
from .everything import ORIGINAL, Result, Task, compete, peak_megabytes
from .gpu import compete_on_gpu, gpu_as_markdown
from .merging import merge_tiles, merging_as_markdown

GALLERY = Path(__file__).parents[2] / "static" / "gallery"
EPILOG = """\
examples:
  python -m sam.bench                            tiny and vit_b, 32 x 32 points, three rounds
  python -m sam.bench --quick                    tiny, 6 x 6 points, one round: does it run?
  python -m sam.bench --only everything --model tiny --precision fp32 --rounds 5
  python -m sam.bench --only encoder --model random:vit_b
  python -m sam.bench --only gpu                 where PyTorch finds a CUDA device
  python -m sam.bench --only merging             what 1,000 tiles of a large picture find, without a model
Times are medians of processor seconds, so that others on the machine disturb little; set OMP_NUM_THREADS=1 for one
core. "decoder" is everything but encoding the picture. Memory is the peak above what the process held with the model
loaded, each contestant in a process of its own; it is measured on Linux.
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure, print tables, keep the numbers; 0, or 2 with a sentence when something is missing."""
    options = parser().parse_args(arguments)
    try:
        if options.memory_of:
            print(peak_megabytes(tasks(options)[0], options.memory_of))
            return 0
        sections = {
            "everything": measure_everything,
            "encoder": measure_encoder,
            "gpu": measure_gpu,
            "merging": measure_merging,
        }
        findings = {name: measure(options) for name, measure in sections.items() if options.only in (None, name)}
        if options.output:
            document = findings.get(options.only, findings)
            options.output.write_text(json.dumps(document, indent=1) + "\n")
    except (RuntimeError, ValueError, OSError) as error:
        print(f"python -m sam.bench: {error}", file=sys.stderr)
        return 2
    return 0


def measure_everything(options: argparse.Namespace) -> dict[str, list[dict]]:
    """Both generators, and their memory."""
    findings = {}
    for task in tasks(options):
        results = compete(task, options.rounds, {} if options.no_memory else memory(task))
        findings[task.model] = [result.as_dict() for result in results]
        print(as_markdown(task, results), flush=True)
    return findings


def measure_encoder(options: argparse.Namespace) -> dict[str, list[dict]]:
    """Every way to compute the image encoder."""
    findings = {}
    for task in tasks(options):
        results = compete_encoders(task.model, options.rounds)
        findings[task.model] = [result.as_dict() for result in results]
        print(encoders_as_markdown(task.model, results), flush=True)
    return findings


def measure_gpu(options: argparse.Namespace) -> dict[str, list[dict]]:
    """Everything mode on the GPU; says so where there is none."""
    if not torch.cuda.is_available():
        print("gpu: skipped, PyTorch finds no CUDA device on this machine\n")
        return {}
    findings = {}
    for task in tasks(options):
        results = compete_on_gpu(task, options.rounds)
        findings[task.model] = [result.as_dict() for result in results]
        print(gpu_as_markdown(task, results), flush=True)
    return findings


def measure_merging(options: argparse.Namespace) -> dict[str, list[dict]]:
    """What a large picture's tiles cost beyond the model."""
    results = merge_tiles(options.tiles or ([16] if options.quick else [100, 400, 1000]), options.things)
    print(merging_as_markdown(results), flush=True)
    return {"synthetic": [result.as_dict() for result in results]}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    described = argparse.ArgumentParser(
        prog="python -m sam.bench",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    described.add_argument(
        "--only", choices=("everything", "encoder", "gpu", "merging"), help="one section instead of all"
    )
    described.add_argument("--model", action="append", help="tiny, random:VARIANT or a file; may be repeated")
    described.add_argument("--precision", action="append", choices=("fp32", "bf16"), help="default both")
    described.add_argument("--picture", type=Path, default=GALLERY / "coffee.jpg")
    described.add_argument("--points", type=int, default=32, help="points along each side of the grid")
    described.add_argument("--rounds", type=int, default=3)
    described.add_argument("--tiles", type=int, action="append", help="tiles whose masks are merged; may be repeated")
    described.add_argument("--things", type=int, default=20, help="things in each of these tiles")
    described.add_argument("--no-memory", action="store_true", help="do not measure memory")
    described.add_argument("--output", type=Path, help="write the numbers to this JSON file")
    described.add_argument("--quick", action="store_true", help="6 x 6 points, one round, tiny unless others are named")
    described.add_argument("--memory-of", help=argparse.SUPPRESS)
    return described


def tasks(options: argparse.Namespace) -> list[Task]:
    """What the command line asks for."""
    if options.quick:
        options.points, options.rounds = min(options.points, 6), 1
    models = options.model or (["tiny"] if options.quick else ["tiny", "random:vit_b"])
    contestants = (ORIGINAL, *(options.precision or ("fp32", "bf16")))
    return [Task(model, options.picture, options.points, contestants) for model in models]


def memory(task: Task) -> dict[str, float]:
    """Peak megabytes of every contestant, each in a process of its own; nothing where that cannot be measured."""
    if not Path("/proc/self/clear_refs").exists():
        return {}
    command = [sys.executable, "-m", "sam.bench", "--model", task.model, "--picture", str(task.picture)]
    command += ["--points", str(task.points_per_side), "--memory-of"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}  # as most have it
    runs = {
        name: subprocess.run([*command, name], capture_output=True, text=True, check=False, env=plain)
        for name in task.contestants
    }
    failed = [run.stderr for run in runs.values() if run.returncode]
    if failed:
        raise RuntimeError(failed[0].strip())
    return {name: float(run.stdout) for name, run in runs.items()}


def as_markdown(task: Task, results: list[Result]) -> str:
    """A table: absolute figures, and in brackets how many times better than the original."""
    title = f"{task.model}, {task.points_per_side} x {task.points_per_side} points, {task.picture.name}"
    lines = [
        f"**{title}**\n",
        "| generator | total, s | decoder, s | peak, MB | masks | match |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    first = results[0]
    for result in results:
        cells = [
            f"{result.processor:.2f} ({first.processor / result.processor:.1f}x)",
            f"{result.decoder:.2f} ({first.decoder / result.decoder:.1f}x)",
            "" if not result.megabytes else f"{result.megabytes:.0f} (1/{first.megabytes / result.megabytes:.1f})",
        ]
        lines.append(f"| {' | '.join([result.name, *cells])} | {result.masks} | {result.match:.3f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
