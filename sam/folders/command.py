"""The command `python -m sam segment`: pictures in, masks out; goes on where a killed run stopped."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..automatic import PRESETS, Settings
from ..checkpoint import load_sam
from .answering import TILE_ABOVE, Asker, Here, Place
from .answers import Answer, Answers, write_json
from .cache import EmbeddingCache
from .formats import COCO_FILE, WRITERS, write_coco
from .on_ray import OnRay
from .pictures import Picture, find_pictures
from .prompts import Prompt, Prompts, read_prompts

FAILURES_FILE = "failures.json"
BAR_WIDTH = 30
EPILOG = """\
examples:
  python -m sam segment photographs --mode everything --out masks
  python -m sam segment photographs --mode boxes --prompts boxes.csv --out masks --format png
Boxes come from a CSV file with the columns file,x0,y0,x1,y1 or from a COCO file, points from file,x,y and, if wanted,
label and object; a column category names what is found. Run the same command again to go on after an interruption.
The exit code is 0, 1 when some pictures failed (they are listed in failures.json), 2 when nothing could be done.
"""


@dataclass(frozen=True, eq=False)
class Job:
    """Pictures, what is asked about them, and where the results go."""

    pictures: list[Picture]
    prompts: Prompts
    asker: Asker
    answers: Answers
    format: str
    place: Place

    def run(self, report: Callable[[str], None]) -> dict[str, str]:
        """Answer every picture that is not yet answered and write the results; failures by name.

        A picture that cannot be read is reported and left out. `OSError`, say of a full disk, ends the run; what was
        written before it stays.
        """
        found, started = {}, time.monotonic()
        for number, (picture, answer) in enumerate(self._answer_all(), start=1):
            try:
                self._keep(picture, answer)
            except ValueError as error:
                found[picture.name] = str(error)
            left = (time.monotonic() - started) / number * (len(self.pictures) - number)
            report(_bar(number, len(self.pictures), len(found), left))
        failures = {picture.name: found[picture.name] for picture in self.pictures if picture.name in found}
        if self.format == "coco":
            write_coco(lambda: self._answered(failures), self.answers.output)
        return failures

    def _answer_all(self) -> Iterator[tuple[Picture, Answer | ValueError]]:
        """Every picture with its answer: those of an earlier run first, the others as they come."""
        unanswered: dict[str, tuple[Picture, Sequence[Prompt]]] = {}
        for picture in self.pictures:
            prompts = self.prompts.get(picture.name, ())
            answer = self.answers.load(picture.name)
            if answer is not None and answer.key == self.asker.key(picture, prompts):
                yield picture, answer
            else:
                unanswered[picture.name] = picture, prompts
        for name, answer in self.place.answers(self.asker, list(unanswered.values())):
            yield unanswered[name][0], answer

    def _keep(self, picture: Picture, answer: Answer | ValueError) -> None:
        """Write what is wanted of an answer, unless it is there."""
        if isinstance(answer, ValueError):
            raise answer
        known = self.answers.load(picture.name) == answer
        if self.format in WRITERS:
            write, target = WRITERS[self.format]
            if not known or not target(picture.name, self.answers.output).exists():
                write(answer, picture.path, self.answers.output)
        if not known:
            self.answers.store(answer)  # last: it says that everything else is there

    def _answered(self, failures: dict[str, str]) -> Iterator[Answer]:
        found = (self.answers.load(picture.name) for picture in self.pictures if picture.name not in failures)
        return (answer for answer in found if answer is not None)


def add_segment(commands: argparse._SubParsersAction) -> None:
    """Describe the `segment` command."""
    segment = commands.add_parser(
        "segment",
        help="masks for files and folders",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    segment.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="pictures, or folders of them")
    segment.add_argument("--mode", choices=("everything", "boxes", "points"), default="everything")
    segment.add_argument("--prompts", type=Path, help="CSV, or COCO's JSON for boxes; for the modes boxes and points")
    segment.add_argument("--out", type=Path, required=True, help="folder for the results")
    segment.add_argument("--format", choices=("coco", *WRITERS), default="coco")
    segment.add_argument("--checkpoint", default="tiny", help="anything load_sam takes; default the embedded model")
    segment.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    segment.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="bf16 pays where there is AMX")
    segment.add_argument("--cache", type=Path, help="folder that keeps embeddings for the next run")
    segment.add_argument("--cache-limit", type=float, default=4.0, help="gigabytes of it; the oldest go (default 4)")
    segment.add_argument(
        "--tile-above", type=float, default=TILE_ABOVE, metavar="MEGAPIXELS", help="tile larger pictures (default 50)"
    )
    segment.add_argument("--on", choices=("here", "ray"), default="here", help="ray: on a cluster of RAY_ADDRESS")
    segment.add_argument("--workers", type=int, help="of Ray, at most; default as many as there is room for")
    everything = segment.add_argument_group("everything mode")
    everything.add_argument("--preset", choices=PRESETS, default="balanced")
    for name, kind in (
        ("points_per_side", int),
        ("pred_iou_thresh", float),
        ("stability_score_thresh", float),
        ("min_mask_region_area", int),
    ):
        everything.add_argument(f"--{name.replace('_', '-')}", type=kind, help="instead of the preset's")
    segment.set_defaults(run=run_segment)


def run_segment(options: argparse.Namespace) -> int:
    """Run the command; 0, or 1 when pictures failed."""
    job = job_of(options)
    failures = job.run(_progress if sys.stderr.isatty() else _silent)
    _finish(options.out, job, failures)
    return 1 if failures else 0


def job_of(options: argparse.Namespace) -> Job:
    """Check everything that can be checked before the first picture is touched."""
    if (options.mode == "everything") != (options.prompts is None):
        wanted = "needs no --prompts" if options.mode == "everything" else "needs --prompts FILE"
        raise ValueError(f"--mode {options.mode} {wanted}")
    pictures = find_pictures(options.paths)
    if options.format in WRITERS:
        _require_own_targets(pictures, options)
    prompts = read_prompts(options.prompts, options.mode) if options.prompts else {}
    unknown = sorted(prompts.keys() - {picture.name for picture in pictures})
    if unknown:
        raise ValueError(f"{options.prompts}: {unknown[0]} is none of the pictures, e.g. {pictures[0].name}")
    names = ("points_per_side", "pred_iou_thresh", "stability_score_thresh", "min_mask_region_area", "precision")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    cache = EmbeddingCache(options.cache, int(options.cache_limit * 2**30)) if options.cache else None
    model = load_sam(options.checkpoint, device=options.device)
    settings = Settings.preset(options.preset, model.config.model_id, **given)
    asker = Asker(model, options.mode, settings, cache, options.tile_above)
    place = OnRay(options.workers) if options.on == "ray" else Here()
    return Job(pictures, prompts, asker, Answers(options.out), options.format, place)


def _require_own_targets(pictures: list[Picture], options: argparse.Namespace) -> None:
    target = WRITERS[options.format][1]
    found: dict[Path, Picture] = {}
    for picture in pictures:
        other = found.setdefault(target(picture.name, options.out), picture)
        if other is not picture:
            raise ValueError(
                f"{other.name} and {picture.name} have the same {options.format} file; rename one or use --format coco"
            )


def _finish(output: Path, job: Job, failures: dict[str, str]) -> None:
    (output / FAILURES_FILE).unlink(missing_ok=True)
    if failures:
        write_json(output / FAILURES_FILE, failures)
        for message in failures.values():
            print(message, file=sys.stderr)
    done = len(job.pictures) - len(failures)
    where = output / COCO_FILE if job.format == "coco" else output
    print(f"{done} of {len(job.pictures)} pictures: {where}")


def _progress(line: str) -> None:
    print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def _silent(line: str) -> None:
    """Nobody is watching."""


def _bar(done: int, total: int, failed: int, seconds_left: float) -> str:
    filled = round(BAR_WIDTH * done / total)
    minutes, seconds = divmod(round(seconds_left), 60)
    ending = f"{minutes} min {seconds:02d} s left" if done < total else "done\n"
    return f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {done}/{total}, {failed} failed, {ending}"
