"""Published checkpoints in the user's cache folder: fetched whole, checked before use, resumed after an interruption.

Nothing is fetched unless `download` is called: asking for consent is its caller's part (`sam.obtaining`). A file
appears under its name once its digest is right; until then it is `.NAME.part`, and the next call goes on from there.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from .published import Published, RemoteFile

HOME = "SAM_HOME"
"""Variable in the environment that names another folder than the platform's cache."""

TRIES = 5
"""How often in a row a server may bring nothing new before it is given up."""
PAUSE_S = 0.5
"""Before the second try; twice as long before each further one."""
TIMEOUT_S = 30.0
REPORT_INTERVAL_S = 0.1


class DownloadError(OSError):
    """A file that could not be had; the message says why, and what to do by hand."""


class FileNotPublishedError(DownloadError):
    """The server knows no such file."""


@dataclass(frozen=True)
class Progress:
    """How far a download is: bytes on disk, bytes in all if known, bytes per second of this run."""

    done: int
    total: int | None
    rate: float

    @property
    def remaining_s(self) -> float | None:
        """Seconds to go at this rate; None where that cannot be told."""
        return (self.total - self.done) / self.rate if self.total and self.rate else None


Report = Callable[[Progress], None]
"""Called a few times a second; an exception from it ends the download, and what is there is kept."""


# --- the cache folder ------------------------------------------------------------------------------------------------


def home_folder() -> Path:
    """What this project keeps for the user: `SAM_HOME`, else the platform's cache folder."""
    home = os.environ.get(HOME)
    return Path(home).expanduser() if home else user_cache_path("sam-in-the-browser")


def checkpoint_folder() -> Path:
    """Where checkpoints are kept."""
    return home_folder() / "checkpoints"


def cached_path(model: Published, file: RemoteFile | None = None) -> Path:
    """Where a file of `model` belongs, its weights by default."""
    return checkpoint_folder() / model.folder / (file or model.weights).name


def downloaded(model: Published) -> Path | None:
    """The weights in the cache, or None. `DownloadError` where the file there is not the published one."""
    for file in (model.weights, *model.alternatives):
        path = cached_path(model, file)
        if path.exists():
            _require_digest(path, file.sha256)
            return path
    return None


def how_to_get(model: Published) -> str:
    """What to do by hand, in one sentence."""
    size = f" ({in_megabytes(model.weights.size)})" if model.weights.size else ""
    return (
        f"download {model.weights.address}{size} yourself and put it at {cached_path(model)}, or give the file's path"
    )


def how_verified(model: Published) -> str:
    """What will tell that the weights are the published ones, in a few words for whoever is to agree."""
    if digest := model.weights.sha256:
        return f"verified against SHA-256 {digest[:12]}..."
    return "unverified: no SHA-256 is published, what the server itself says of its file is all that is compared"


def in_megabytes(size: int) -> str:
    """`375 MB`, `2.56 GB`."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


# --- fetching --------------------------------------------------------------------------------------------------------


def download(model: Published, report: Report | None = None) -> Path:
    """Fetch the weights of `model`, and what lies beside them, into the cache; returns the path of the weights.

    Several processes may call this at once: one fetches, the others wait for its file. Raises `DownloadError`.
    """
    try:
        path = downloaded(model) or _download_weights(model, report)
        for file in model.beside:
            _download_if_published(model, file)
        return path
    except DownloadError as error:
        raise type(error)(f"{model.name}: {error}; {how_to_get(model)}") from error


def _download_weights(model: Published, report: Report | None) -> Path:
    *first, last = (model.weights, *model.alternatives)
    for file in first:
        if path := _download_if_published(model, file, report):
            return path
    return fetch(last, cached_path(model, last), report)


def _download_if_published(model: Published, file: RemoteFile, report: Report | None = None) -> Path | None:
    try:
        return fetch(file, cached_path(model, file), report)
    except FileNotPublishedError:
        return None


def fetch(file: RemoteFile, path: Path, report: Report | None = None) -> Path:
    """Fetch one file to `path`, verified; at once where it is already there. Raises `DownloadError`."""
    with _folder_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path, file, report or _silent):
            if not path.exists():
                _Transfer(file, path, report or _silent).run()
    return path


class _Transfer:
    """One file on its way, by one process."""

    def __init__(self, file: RemoteFile, path: Path, report: Report) -> None:
        self.file, self.path, self.report = file, path, report
        self.part = _Part(path, file.address)
        self.stated_digest = ""
        self._started_at, self._received, self._reported_at = time.monotonic(), 0, 0.0

    def run(self) -> None:
        """Receive, verify, put in place. A wrong digest after resuming is tried once more from the first byte."""
        resumed = self.part.size > 0
        with httpx.Client(follow_redirects=True, timeout=TIMEOUT_S) as client:
            self._receive_all(client)
            try:
                _require_digest(self.part.path, self.file.sha256 or self.stated_digest)
            except DownloadError:
                self.part.discard()
                if not resumed:
                    raise
                self._receive_all(client)
                try:
                    _require_digest(self.part.path, self.file.sha256 or self.stated_digest)
                except DownloadError:
                    self.part.discard()
                    raise
        self.part.finish()

    def _receive_all(self, client: httpx.Client) -> None:
        """Until the file is complete; a connection that breaks is taken up where it broke."""
        tries, furthest = 0, self.part.size
        while True:
            try:
                return self._receive(client)
            except (_InterruptedError, httpx.TransportError) as error:
                tries = 1 if self.part.size > furthest else tries + 1
                furthest = max(furthest, self.part.size)
                if tries >= TRIES:
                    raise DownloadError(_why(error, self.file.address)) from error
                time.sleep(PAUSE_S * 2 ** (tries - 1))

    def _receive(self, client: httpx.Client) -> None:
        """One request; `_InterruptedError` where another may do better."""
        headers = {"Accept-Encoding": "identity", **self.part.resuming(trusted=bool(self.file.sha256))}
        with client.stream("GET", self.file.address, headers=headers) as response:
            self._note_digest(response)
            if response.status_code == 416:
                return self._beyond_the_end(response)
            _require_success(response)
            total = self._begin(response)
            self._require_room(total)
            with self.part.path.open("ab") as out:
                for chunk in response.iter_raw():
                    out.write(chunk)
                    self._received += len(chunk)
                    self._tell(total)
        if total is not None and self.part.size != total:
            raise _InterruptedError(f"it announced {total} bytes and sent {self.part.size}")
        self._tell(self.part.size, now=True)

    def _begin(self, response: httpx.Response) -> int | None:
        """Make `part` ready for the body; the size of the whole file, None where the server does not tell."""
        if response.status_code == 206:
            start, total = _content_range(response)
            if start != self.part.size or self.part.is_of_another(response):
                self.part.discard()
                raise _InterruptedError("it sent another part than asked for, or of another file")
        else:
            self.part.discard()
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else None
        if self.file.size is not None and total not in (None, self.file.size):
            self.part.discard()
            raise DownloadError(
                f"{self.file.address} offers {total} bytes, and the published file has {self.file.size}"
            )
        self.part.remember(response)
        return total

    def _beyond_the_end(self, response: httpx.Response) -> None:
        """The server has no bytes after those that are here: complete, or a part of something else."""
        end = response.headers.get("Content-Range", "").rpartition("/")[2]
        if end != str(self.part.size):
            self.part.discard()
            raise _InterruptedError("what was here is longer than its file")

    def _require_room(self, total: int | None) -> None:
        missing = (total or 0) - self.part.size
        free = shutil.disk_usage(self.path.parent).free
        if missing > free:
            raise DownloadError(
                f"{in_megabytes(missing)} more do not fit into {self.path.parent}, {in_megabytes(free)} are free; "
                f"make room, or set {HOME} to another folder"
            )

    def _note_digest(self, response: httpx.Response) -> None:
        """What Hugging Face says of the file that it redirects to."""
        for each in (*response.history, response):
            stated = each.headers.get("X-Linked-Etag", "").strip('"')
            if re.fullmatch(r"[0-9a-f]{64}", stated):
                self.stated_digest = stated

    def _tell(self, total: int | None, *, now: bool = False) -> None:
        time_s = time.monotonic()
        if now or time_s - self._reported_at >= REPORT_INTERVAL_S:
            self._reported_at = time_s
            self.report(Progress(self.part.size, total, self._received / max(time_s - self._started_at, 1e-6)))


class _Part:
    """The unfinished file, and a note of whose part it is: the address and what the server called that version."""

    def __init__(self, path: Path, address: str) -> None:
        self.target, self.address = path, address
        self.path, self.note = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.part.json")
        if self._noted().get("address") != address:
            self.discard()

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def resuming(self, *, trusted: bool) -> dict[str, str]:
        """Headers that ask for the rest; none where nothing could tell whether it is the rest of the same file.

        trusted: a digest will tell.
        """
        validator = self._noted().get("validator", "")
        if not self.size or not (validator or trusted):
            return {}
        return {"Range": f"bytes={self.size}-", **({"If-Range": validator} if validator else {})}

    def is_of_another(self, response: httpx.Response) -> bool:
        """Whether the server names another version than that of the bytes here."""
        noted, given = self._noted().get("validator", ""), _validator(response)
        return bool(noted and given) and noted != given

    def remember(self, response: httpx.Response) -> None:
        self.note.write_text(json.dumps({"address": self.address, "validator": _validator(response)}))

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def finish(self) -> None:
        os.replace(self.path, self.target)
        self.note.unlink(missing_ok=True)

    def _noted(self) -> dict[str, str]:
        try:
            noted = json.loads(self.note.read_text())
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) else {}


# --- answers of a server ---------------------------------------------------------------------------------------------


class _InterruptedError(Exception):
    """Something that another try may mend."""


def _require_success(response: httpx.Response) -> None:
    status, address = response.status_code, str(response.url)
    if status in (404, 410):
        raise FileNotPublishedError(f"{address} does not exist (status {status})")
    if status in (401, 403):
        raise DownloadError(f"{address} may not be read (status {status}); it may ask for an account or an agreement")
    if status == 429 or status >= 500:
        raise _InterruptedError(f"it is busy or broken (status {status})")
    if status not in (200, 206):
        raise DownloadError(f"{address} answered with status {status}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise DownloadError(f"{address} answered with a web page; a network that asks for a login does that")


def _content_range(response: httpx.Response) -> tuple[int | None, int | None]:
    """First byte and size of the whole, as far as a 206 tells."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not found:
        return None, None
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _validator(response: httpx.Response) -> str:
    """What `If-Range` takes: a strong ETag, else the date of change."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def _why(error: Exception, address: str) -> str:
    host = httpx.URL(address).host
    if isinstance(error, httpx.ConnectError):
        return f"{host} cannot be reached ({error}): offline, or behind a proxy that HTTPS_PROXY should name"
    if isinstance(error, httpx.TimeoutException):
        return f"{host} said nothing for {TIMEOUT_S:.0f} seconds"
    return f"{host} breaks off ({error or type(error).__name__}); what has arrived is kept for the next try"


# --- files -----------------------------------------------------------------------------------------------------------


def _require_digest(path: Path, sha256: str) -> None:
    if not sha256:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise DownloadError(
            f"{path} is not the published file: its SHA-256 is {found[:12]}..., not {sha256[:12]}...; delete it"
            if not path.name.startswith(".")
            else f"what arrived is not the published file: its SHA-256 is {found[:12]}..., not {sha256[:12]}..."
        )


@contextmanager
def _alone(path: Path, file: RemoteFile, report: Report) -> Iterator[None]:
    """One process at a time; the others see how far that one is."""
    lock, part = FileLock(path.with_name(f".{path.name}.lock")), path.with_name(f".{path.name}.part")
    while True:
        try:
            lock.acquire(timeout=0.5)
            break
        except Timeout:
            report(Progress(part.stat().st_size if part.exists() else 0, file.size, 0.0))
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _folder_errors(folder: Path) -> Iterator[None]:
    """Name the folder, and the way out, where the disk is what fails."""
    try:
        yield
    except DownloadError:
        raise
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DownloadError(f"the disk of {folder} is full; make room, or set {HOME} to another folder") from error
        reason = error.strerror or error
        raise DownloadError(f"{folder} cannot be written ({reason}); set {HOME} to a folder that can") from error


def _silent(progress: Progress) -> None:
    """Tell nobody."""
