"""The facts about a machine without which its figures mean little."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from demo.routes.page import static_folder

PACKAGES = ("onnxruntime", "onnx", "torch", "numpy", "playwright")
INSTRUCTIONS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16")


def describe_machine() -> dict[str, Any]:
    """Processor, system, and versions of what was measured."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "instructions": _instructions(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "onnxruntime-web": [
            folder.name.rpartition("-")[2] for folder in (static_folder() / "vendor").glob("onnxruntime-web-*")
        ],
        "chromium": _chromium(),
    }


def _cpuinfo(field: str) -> str:
    """A line of Linux's description of the first core; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
    found = re.search(rf"^{field}\s*:\s*(.*)$", text, re.MULTILINE)
    return found[1] if found else ""


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or "unknown"


def _instructions() -> list[str]:
    flags = _cpuinfo("flags").split()
    return [name for name in INSTRUCTIONS if name in flags]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _chromium() -> str | None:
    from demo.bench.chromium import chromium

    try:
        with chromium() as browser:
            return browser.version
    except RuntimeError:
        return None
