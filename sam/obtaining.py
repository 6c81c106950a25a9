"""Checkpoints for somebody at a terminal: what there is, a question before anything is fetched, a line of progress."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from .checkpoint import EMBEDDED
from .hub.downloads import (
    DownloadError,
    Progress,
    cached_path,
    download,
    downloaded,
    how_to_get,
    how_verified,
    in_megabytes,
)
from .hub.published import PUBLISHED, Published, find_published


class NotAgreedError(DownloadError):
    """Nobody agreed to a download."""


def missing_checkpoint(source: str) -> Published | None:
    """What would have to be downloaded before `load_sam(source)`; None where nothing would."""
    if source in EMBEDDED or Path(source).expanduser().exists():
        return None
    published = find_published(source)
    return published if published and downloaded(published) is None else None


def obtain(model: Published, *, agreed: bool = False) -> Path:
    """The weights of `model` on this disk, downloaded if somebody agrees.

    agreed: consent was given already; else it is asked for, on a terminal only. `DownloadError` without it.
    """
    if path := downloaded(model):
        return path
    if not agreed and not (sys.stdin.isatty() and ask(model)):
        raise NotAgreedError(
            f"{model.name} is not on this machine; agree with --download ({how_verified(model)}), "
            f"or {how_to_get(model)}"
        )
    line = ProgressLine(model.title)
    try:
        return download(model, line.show)
    finally:
        line.end()


def ask(model: Published, answer: Callable[[str], str] = input) -> bool:
    """Say what would be fetched, and under which terms; True only for a yes."""
    size = in_megabytes(model.weights.size) if model.weights.size else "size unknown"
    print(f"{model.title}: {size} from {model.weights.address}")
    print(f"  licence {model.licence}; {model.citation}")
    print(f"  {how_verified(model)}")
    print(f"  to {cached_path(model)}")
    try:
        return answer("Download? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


class ProgressLine:
    """One line on stderr, written over and over; on anything but a terminal a line for every tenth."""

    def __init__(self, title: str) -> None:
        self.title, self._tenth, self._shown = title, -1, False

    def show(self, progress: Progress) -> None:
        """Write how far it is."""
        tenth = 10 * progress.done // progress.total if progress.total else 0
        if not sys.stderr.isatty() and tenth == self._tenth:
            return
        self._tenth, self._shown = tenth, True
        share = (
            f"{progress.done / progress.total:4.0%} of {in_megabytes(progress.total)}"
            if progress.total
            else (in_megabytes(progress.done))
        )
        left = f", {progress.remaining_s:.0f} s left" if progress.remaining_s else ""
        text = f"{self.title}: {share}, {progress.rate / 1e6:.1f} MB/s{left}"
        print(
            f"\r\033[K{text}" if sys.stderr.isatty() else text, end="" if sys.stderr.isatty() else "\n", file=sys.stderr
        )

    def end(self) -> None:
        """Leave the line."""
        if self._shown and sys.stderr.isatty():
            print(file=sys.stderr)


# --- commands --------------------------------------------------------------------------------------------------------


def add_models(commands: argparse._SubParsersAction) -> None:
    """`python -m sam models`."""
    command = commands.add_parser("models", help="published checkpoints: size, licence, whether they are here")
    command.set_defaults(run=_list_models)


def add_download(commands: argparse._SubParsersAction) -> None:
    """`python -m sam download`."""
    command = commands.add_parser("download", help="fetch a published checkpoint into the cache, after asking")
    command.add_argument("name", help="a name from `models`, or a Hugging Face repository: owner/name")
    command.add_argument("--yes", action="store_true", help="agree to the download and its licence")
    command.set_defaults(run=_download)


def _list_models(options: argparse.Namespace) -> int:
    for model in PUBLISHED.values():
        size = in_megabytes(model.weights.size) if model.weights.size else ""
        here = "here" if cached_path(model).exists() else ""
        print(f"{model.name:12} {size:>8}  {model.licence:12} {here:5} {model.citation}")
    return 0


def _download(options: argparse.Namespace) -> int:
    model = find_published(options.name)
    if model is None:
        raise ValueError(f"{options.name} is no published checkpoint ({', '.join(PUBLISHED)}) and no owner/name")
    print(obtain(model, agreed=options.yes))
    return 0
