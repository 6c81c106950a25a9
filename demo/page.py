"""The page's files, with the types, the codings and the caching that browsers need."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers
from starlette.types import Scope

from demo.codings import Coding, choose_coding

REVALIDATE = "no-cache"
FOREVER = "public, max-age=31536000, immutable"  # folders under vendor/ carry their version in the name
VENDOR_HINT = "the page's runtime is not built; run: npm ci && npm run vendor"
# What the platform's table of types may lack or get wrong; modules and wasm are refused under any other type.
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".onnx": "application/octet-stream",
}
_PACKED: dict[Coding, str] = {"br": ".br", "gzip": ".gz"}
"""Suffixes of the forms that the vendor build writes beside a file, smallest first."""


class StaticPage(StaticFiles):
    """Our own files are asked about before a copy is used (ETag, 304); vendor/** never changes and may be packed."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        path = Path(full_path)
        forms = _forms_on_disk(path)
        coding = choose_coding(Headers(scope=scope).get("accept-encoding", ""), forms)
        if coding != "identity":
            full_path, stat_result = forms[coding], forms[coding].stat()
        response = super().file_response(full_path, stat_result, scope, status_code)
        is_vendor = path.is_relative_to(Path(self.directory).resolve() / "vendor")
        response.headers["Cache-Control"] = FOREVER if is_vendor else REVALIDATE
        if forms:
            response.headers["Vary"] = "Accept-Encoding"
        if response.status_code != 304:
            _describe(response, path.suffix, coding)
        return response


def _forms_on_disk(path: Path) -> dict[Coding, Path]:
    forms = {coding: path.with_name(path.name + suffix) for coding, suffix in _PACKED.items()}
    return {coding: form for coding, form in forms.items() if form.is_file()}


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
    return (static / "vendor").is_dir()
