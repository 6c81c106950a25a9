"""Build hook of the Python package: put onnxruntime-web into `static/vendor` before the wheel is packed.

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
        if any((static / "vendor").rglob("*.wasm.br")) and any((static / "kernels").glob("*.wasm")):
            return
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError("npm is needed once, to fetch onnxruntime-web for the page: install Node.js 20 or newer")
        for command in (
            [npm, "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"],
            [npm, "run", "vendor"],
        ):
            subprocess.run(command, cwd=root, check=True)
