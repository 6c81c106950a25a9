"""`python -m demo.bench`: measure, print tables, keep the numbers."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from demo.bench import report
from demo.bench.machine import describe_machine
from demo.bench.scale import FULL, QUICK

SECTIONS = {
    "decoder": "time per prompt and per picture against Meta's graph, in the browser and natively",
    "webgpu": "answers, dispatches and bytes read back on WebGPU; times where the adapter is not emulated",
    "accuracy": "masks on the gallery's photographs against PyTorch, per precision",
    "limits": "profiles per operator, arithmetic counted from the graphs, distance to the machine's peak",
    "embedding": "encoding pictures of several sizes, bytes on the wire, unpacking",
    "cold-start": "the real page from nothing to the first mask, and its second visit",
    "studio": "hover, pan and zoom over a large picture with many objects: frames, tasks, painting",
    "take-home": "a picture of 40 megapixels with 200 objects saved in each format: time, and the main thread's frames",
    "crowd": "200 visitors before one server for ten minutes: answers, times, memory, fairness, and its end under load",
    "hover": "a scripted pointer over the real page: masks per second, latency, long tasks",
}
EPILOG = """\
examples:
  python -m demo.bench --output results           everything, about 40 minutes
  python -m demo.bench --only decoder             one section; may be given several times
  python -m demo.bench --quick                    one small round of everything: does it run?
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the wanted sections; 0, or 2 with a sentence when something they need is missing."""
    options = _parser().parse_args(arguments)
    try:
        if options.output:
            options.output.mkdir(parents=True, exist_ok=True)
        findings = []
        for name in options.only or SECTIONS:
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            section = importlib.import_module(f"demo.bench.{name.replace('-', '_')}")
            findings.append(section.measure(QUICK if options.quick else FULL))
            print(report.as_markdown(findings[-1].tables), flush=True)
        if options.output:
            report.write(options.output, describe_machine(), findings)
    except (RuntimeError, OSError) as error:
        print(f"python -m demo.bench: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    sections = "\n".join(f"  {name:<12}{what}" for name, what in SECTIONS.items())
    parser = argparse.ArgumentParser(
        prog="python -m demo.bench",
        description=f"Measure this project and its peers on this machine.\n\nsections:\n{sections}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", choices=SECTIONS, help="measure this section (default: all)")
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="keep results.json, results.md and profiles there"
    )
    parser.add_argument(
        "--quick", action="store_true", help="few runs of small things: shows that it works, not how fast"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
