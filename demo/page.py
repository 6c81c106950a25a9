"""The page's files, with the types and the caching that browsers need."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

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


class StaticPage(StaticFiles):
    """Our own files are asked about before a copy is used (ETag, 304); vendor/** never changes."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        is_vendor = Path(full_path).is_relative_to(Path(self.directory).resolve() / "vendor")
        response.headers["Cache-Control"] = FOREVER if is_vendor else REVALIDATE
        if (suffix := Path(full_path).suffix) in _TYPES and response.status_code != 304:
            response.headers["Content-Type"] = _TYPES[suffix]
        return response


def static_folder() -> Path:
    """Where the page is: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "static"
    return installed if installed.is_dir() else package.parent / "static"


def vendor_is_built(static: Path) -> bool:
    return (static / "vendor").is_dir()
