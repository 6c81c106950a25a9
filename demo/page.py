"""The page's files, with the types, the codings and the caching that browsers need."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers
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
    ".onnx": "application/octet-stream",
}
_TEXTS = (".js", ".css")
_PACKED: dict[Coding, str] = {"br": ".br", "gzip": ".gz"}
"""Suffixes of the forms that the vendor build writes beside a file, smallest first."""


class StaticPage(StaticFiles):
    """Files as their reader takes them: packed beside them where the build did so, texts of our own packed here.

    Our own files are asked about before a copy is used (ETag, 304); vendor/** never changes.
    """

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        path, request = Path(full_path), Headers(scope=scope)
        files, texts = _forms_on_disk(path), _forms_in_memory(path, stat_result.st_mtime_ns)
        coding = choose_coding(request.get("accept-encoding", ""), files or texts)
        if coding in files:
            response = super().file_response(files[coding], files[coding].stat(), scope, status_code)
        elif coding in texts:
            response = _text_response(texts[coding], f'"{stat_result.st_mtime_ns:x}-{coding}"', request)
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
def _forms_in_memory(path: Path, changed_at: int) -> Mapping[Coding, bytes]:
    """A text of ours, packed once for as long as it does not change."""
    return compress_all(path.read_bytes()) if path.suffix in _TEXTS else {}


def _text_response(body: bytes, etag: str, request: Headers) -> Response:
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
    package = Path(__file__).parent
    installed = package / "static"
    return installed if installed.is_dir() else package.parent / "static"


def vendor_is_built(static: Path) -> bool:
    return (static / "vendor").is_dir() and any((static / "kernels").glob("*.wasm"))
