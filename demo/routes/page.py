"""The page's files, with the types, the codings and the caching that browsers need."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Scope

from demo.codings import Coding, choose_coding, compress_all

REVALIDATE = "no-cache"
FOREVER = "public, max-age=31536000, immutable"  # folders under vendor/ carry their version in the name
VENDOR_HINT = "the page's runtime and kernel are not built; run: npm ci && npm run vendor"
# What the platform's table of types may lack or get wrong; modules and wasm are refused under any other type.
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".onnx": "application/octet-stream",
}
_TEXTS = (".js", ".css", ".html")
_PACKED: dict[Coding, str] = {"br": ".br", "gzip": ".gz"}
"""Suffixes of the forms that the vendor build writes beside a file, smallest first."""

log = logging.getLogger(__name__)


class Document:
    """The page's HTML: of the build as long as it was made from the sources that lie here, else of the sources.

    The build is smaller and in fewer files, nothing else. Whoever edits a source is served the sources from the next
    request on, until `npm run page` builds them.
    """

    def __init__(self, static: Path) -> None:
        self._static = static
        self._told: str | None = None

    @property
    def source(self) -> Path:
        """The document of the sources. Raises 404 where there is none."""
        path = self._static / "index.html"
        if not path.is_file():
            raise HTTPException(404, "The page is not installed")
        return path

    @property
    def path(self) -> Path:
        """The document to serve. Raises 404 where there is none."""
        listing = self._static / "vendor" / "page.json"
        if not listing.is_file():
            return self.source
        build = _read_listing(listing, _version(listing.stat()))
        changed = next((name for name, digest in build["sources"].items() if self._digest(name) != digest), None)
        self._tell(changed)
        return self.source if changed else listing.parent / build["folder"] / "index.html"

    def _digest(self, name: str) -> str | None:
        file = self._static / name
        return _sha256(file, _version(file.stat())) if file.is_file() else None

    def _tell(self, changed: str | None) -> None:
        if changed and changed != self._told:
            log.warning("static/%s changed since the page was built; serving the sources until: npm run page", changed)
        self._told = changed


def _version(state: os.stat_result) -> str:
    """Of a file's content. What is written twice within one tick of the file system's clock may differ in its size."""
    return f"{state.st_mtime_ns:x}-{state.st_size:x}"


@lru_cache(maxsize=1)
def _read_listing(path: Path, version: str) -> dict:
    return json.loads(path.read_bytes())


@lru_cache(maxsize=1024)
def _sha256(path: Path, version: str) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class StaticPage(StaticFiles):
    """Files as their reader takes them: packed beside them where the build did so, texts of our own packed here.

    Our own files are asked about before a copy is used (ETag, 304); vendor/** never changes.
    """

    def document(self, path: Path, scope: Scope) -> Response:
        """A file at an address that others may have tomorrow, wherever it lies."""
        response = self.file_response(path, path.stat(), scope)
        response.headers["Cache-Control"] = REVALIDATE
        return response

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        path, request = Path(full_path), Headers(scope=scope)
        version = _version(stat_result)
        files, texts = _forms_on_disk(path), _forms_in_memory(path, version)
        coding = choose_coding(request.get("accept-encoding", ""), files or texts)
        if coding in files:
            form, version = files[coding], _version(files[coding].stat())
            response = _packed_response(_read(form, version), f'"{version}-{coding}"', request)
        elif coding in texts:
            response = _packed_response(texts[coding], f'"{version}-{coding}"', request)
        else:
            response = super().file_response(path, stat_result, scope, status_code)
        is_vendor = path.is_relative_to(Path(self.directory).resolve() / "vendor")
        response.headers["Cache-Control"] = FOREVER if is_vendor else REVALIDATE
        if files or texts:
            response.headers["Vary"] = "Accept-Encoding"
        if response.status_code != 304:
            _describe(response, path.suffix, coding)
        return response


def _forms_on_disk(path: Path) -> dict[Coding, Path]:
    forms = {coding: path.with_name(path.name + suffix) for coding, suffix in _PACKED.items()}
    return {coding: form for coding, form in forms.items() if form.is_file()}


@lru_cache(maxsize=256)
def _forms_in_memory(path: Path, version: str) -> Mapping[Coding, bytes]:
    """A text of ours, packed once for as long as it does not change."""
    return compress_all(path.read_bytes()) if path.suffix in _TEXTS else {}


@lru_cache(maxsize=64)
def _read(path: Path, version: str) -> bytes:
    """A packed file, kept in memory: streamed from the disk, its pieces would each wait for a thread."""
    return path.read_bytes()


def _packed_response(body: bytes, etag: str, request: Headers) -> Response:
    known = etag in request.get("if-none-match", "")
    return Response(b"" if known else body, status_code=304 if known else 200, headers={"ETag": etag})


def _describe(response: Response, suffix: str, coding: Coding) -> None:
    """Say what the body is, once unpacked, and how it is packed."""
    if suffix in _TYPES:
        response.headers["Content-Type"] = _TYPES[suffix]
    if coding != "identity":
        response.headers["Content-Encoding"] = coding


def static_folder() -> Path:
    """Where the page is: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "static"
    return installed if installed.is_dir() else package.parent / "static"


def vendor_is_built(static: Path) -> bool:
    return (static / "vendor").is_dir() and any((static / "kernels").glob("*.wasm"))
