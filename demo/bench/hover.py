"""A scripted pointer over the real page: how many masks follow it, how late, and whether the page stutters."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from demo.bench.chromium import WASM, Tier, chromium
from demo.bench.real_page import RealPage, demo_server
from demo.bench.report import Findings, Row, Table
from demo.bench.scale import Scale

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MOVES_PER_SECOND = 60
NOTE = """\
A pointer that never rests, 60 moves a second over one photograph. Latency: from the pointer's move to its mask in the
page, milliseconds, over the last 60 masks. Long tasks hold the
main thread for over 50 ms: their number, and the longest in milliseconds."""

WATCH = """() => {
  const seen = { masks: 0, last: null, longTasks: [] };
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) seen.longTasks.push(duration);
  }).observe({ type: 'longtask' });
  const look = () => {
    const asked = JSON.stringify(samDebug.state().mask?.prompts);
    if (asked !== seen.last) seen.masks += 1;
    seen.last = asked;
    requestAnimationFrame(look);
  };
  look();
  window.benchSeen = seen;
}"""


def measure(scale: Scale) -> Findings:
    with demo_server() as address, chromium() as browser:
        tiers = [WASM[threads] for threads in scale.threads]
        rows = [_row(browser, address, tier, scale.hover_seconds) for tier in tiers]
    return Findings([Table("Hover", NOTE, rows)])


def _row(browser: Browser, address: str, tier: Tier, seconds: float) -> Row:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = RealPage(context, address, tier.tier)
    page.open_picture()
    page.evaluate(WATCH)
    moves = wander(page, seconds)
    seen, latency = page.evaluate("() => window.benchSeen"), page.state()["latency"]
    context.close()
    return {
        "tier": tier.name,
        "moves": moves,
        "masks per second": seen["masks"] / seconds,
        "latency p50": latency["median"],
        "latency p95": latency["p95"],
        "long tasks": len(seen["longTasks"]),
        "longest": max(seen["longTasks"], default=0.0),
    }


def wander(page: RealPage, seconds: float) -> int:
    """Lead the pointer along a path that does not close; the number of moves."""
    move = page.pointer()
    start = time.monotonic()
    moves = 0
    while (elapsed := time.monotonic() - start) < seconds:
        angle = 3 * elapsed
        move(0.5 + 0.3 * math.cos(angle), 0.5 + 0.3 * math.sin(1.3 * angle))
        moves += 1
        time.sleep(max(0.0, moves / MOVES_PER_SECOND - (time.monotonic() - start)))
    return moves
