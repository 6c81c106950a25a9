"""Build hook of the Python package: onnxruntime-web and the page in `static/vendor`, the kernel in `static/kernels`.

The runtime is up to 27 MB of WebAssembly from npm, so it is fetched and packed at build time and never committed.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class VendorBuildHook(BuildHookInterface):
    """Runs for wheels and for editable installs."""

    def initialize(self, version: str, build_data: dict) -> None:
        root = Path(self.root)
        static = root / "static"
        runtime_is_there = any((static / "vendor").rglob("*.wasm.br"))
        if runtime_is_there and kernels_are_built(static / "kernels") and page_is_built(static):
            return
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError("npm is needed once, to build what the page runs on: install Node.js 20 or newer")
        for command in (
            [npm, "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"],
            [npm, "run", "vendor"],
        ):
            subprocess.run(command, cwd=root, check=True)


def kernels_are_built(folder: Path) -> bool:
    """Whether both builds are there, and no older than their source."""
    source = (folder / "decoder.ts").stat().st_mtime
    builds = [folder / name for name in ("decoder.relaxed.wasm", "decoder.wasm")]
    return all(build.is_file() and build.stat().st_mtime >= source for build in builds)


def page_is_built(static: Path) -> bool:
    """Whether the build is there, and no older than any of its sources."""
    build = static / "vendor" / "page.json"
    sources = [static / "index.html", static / "styles.css", *(static / "js").rglob("*.js")]
    return build.is_file() and build.stat().st_mtime >= max(source.stat().st_mtime for source in sources)
