"""Processor time of Chromium's renderers: on a machine that others use it says more than the clock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NANOSECONDS = 1e-9


class RendererClock:
    """Seconds of processor time that the renderers of one browser have used, all threads together.

    Read from the scheduler (Linux) in nanoseconds; elsewhere Chromium is asked, which counts in steps of 10 ms.
    """

    def __init__(self, browser: Browser) -> None:
        self._inspector = browser.new_browser_cdp_session()

    def seconds(self) -> float:
        renderers = [info for info in self._processes() if info["type"] == "renderer"]
        return sum(_scheduled(info["id"]) or info["cpuTime"] for info in renderers)

    def _processes(self) -> list[dict]:
        return self._inspector.send("SystemInfo.getProcessInfo")["processInfo"]


def _scheduled(process: int) -> float:
    """Seconds that the living threads of a process have run; 0 where the system does not say."""
    nanoseconds = 0
    for thread in Path(f"/proc/{process}/task").glob("*/schedstat"):
        try:
            nanoseconds += int(thread.read_text().split()[0])
        except (OSError, ValueError, IndexError):  # the thread has just ended
            continue
    return nanoseconds * NANOSECONDS
