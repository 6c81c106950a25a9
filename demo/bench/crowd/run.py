"""A server, a crowd before it for a time, and the server stopped while all of them are there."""

from __future__ import annotations

import asyncio
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx

from demo.bench.crowd.album import Album
from demo.bench.crowd.probe import Times, probing
from demo.bench.crowd.tally import OUTCOMES, Tally
from demo.bench.crowd.visitor import Visitor
from demo.bench.report import Findings, Row, Table
from demo.bench.scale import Scale
from demo.routes.page import static_folder
from sam import load_sam

START_S = 300
STOPPING_S = 60
GREEDY_SHARE = 0.02
SAMPLES = 10
ANSWERS_NOTE = "Answers by what was asked. " + "; ".join(f"{name}: {what}" for name, what in OUTCOMES.items()) + "."
TIMES_NOTE = "Milliseconds from a process of its own, one request at a time, while pictures are encoded."
FAIR_NOTE = """\
Greedy visitors upload 50 pictures at once, others one after the other. Seconds from an upload's answer to the
embedding; pictures that each of the others got over the whole run."""
SERVER_NOTE = "The server's resident memory, its line of encodes and its cache over the run."
END_NOTE = "SIGTERM while everybody is there. Lost: asked before it, and not answered. Faults: in the log."


@dataclass(frozen=True)
class Sample:
    """The server at a time: seconds since the start, megabytes, encodes in line, megabytes of its cache."""

    at_s: float
    memory_mb: float | None
    queue: int
    cached_mb: float


@dataclass
class Outcome:
    """What came of it."""

    tally: Tally
    times: Times
    samples: list[Sample] = field(default_factory=list)
    exit_code: int | None = None
    stopping_s: float = 0.0
    lost: int = 0
    log: str = ""

    @property
    def in_order(self) -> bool:
        return self.tally.total("wrong") == 0 and self.exit_code == 0 and "Traceback" not in self.log


@dataclass(frozen=True)
class Crowd:
    """So many visitors for so long, before `python -m demo` with these options."""

    visitors: int
    seconds: float
    seed: int = 0
    options: tuple[str, ...] = ()

    def run(self) -> Outcome:
        """Raises `RuntimeError` with the server's output if it does not start."""
        album = Album.of(load_sam("tiny"))
        with tempfile.TemporaryFile("w+") as log, serving(log, self.options) as (process, address):
            paths = {"page": "/", "script": "/static/js/main.js", "cached embedding": open_picture(address, album)}
            paths |= runtime_file()
            with probing(address, paths) as times:
                outcome = Outcome(Tally(), times)
                asyncio.run(self._crowd(address, album, outcome, process))
            outcome.exit_code = process.wait(STOPPING_S)
            log.seek(0)
            outcome.log = log.read()
        return outcome

    async def _crowd(self, address: str, album: Album, outcome: Outcome, process: subprocess.Popen) -> None:
        visitors = [
            Visitor(number, address, album, outcome.tally, seed=self.seed, greedy=self._is_greedy(number))
            for number in range(1, self.visitors + 1)
        ]
        tasks = [asyncio.create_task(visitor.stay()) for visitor in visitors]
        await self._watch(address, process.pid, outcome)
        wrong = outcome.tally.total("wrong")
        outcome.tally.stop()
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, STOPPING_S)
        outcome.stopping_s = time.monotonic() - outcome.tally.stopped_at
        await asyncio.sleep(1)  # for the last answers
        outcome.lost = outcome.tally.total("wrong") - wrong
        for task in tasks:
            task.cancel()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        outcome.tally.complaints += [repr(error) for error in errors if isinstance(error, Exception)]

    async def _watch(self, address: str, pid: int, outcome: Outcome) -> None:
        started = time.monotonic()
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            while (at_s := time.monotonic() - started) < self.seconds:
                health = (await client.get("/healthz")).json()
                cached_mb = health["cached_bytes"] / 1e6
                outcome.samples.append(Sample(at_s, resident_mb(pid), health["queue"], cached_mb))
                await asyncio.sleep(min(5, self.seconds / SAMPLES))

    def _is_greedy(self, number: int) -> bool:
        return number <= max(1, round(GREEDY_SHARE * self.visitors))


def measure(scale: Scale) -> Findings:
    crowd = Crowd(*scale.crowd)
    return findings(crowd, crowd.run())


def findings(crowd: Crowd, outcome: Outcome) -> Findings:
    """As tables."""
    tally = outcome.tally
    answers: list[Row] = [
        {"asked for": what, **{name: counts[name] for name in OUTCOMES}}
        for what, counts in sorted(tally.counts.items())
    ]
    answers.append({"asked for": "all", **{name: tally.total(name) for name in OUTCOMES}})
    faults = outcome.log.count("Traceback")
    end: Row = {"exit code": outcome.exit_code, "seconds": outcome.stopping_s, "lost": outcome.lost, "faults": faults}
    title = f"{crowd.visitors} visitors for {crowd.seconds:.0f} seconds"
    return Findings(
        [
            Table(title, ANSWERS_NOTE, answers),
            Table("While pictures are encoded", TIMES_NOTE, [_times(*item) for item in outcome.times.items()]),
            Table("Fairness", FAIR_NOTE, [_waits(*item) for item in tally.waits.items()] + [_pictures(crowd, tally)]),
            Table("The server", SERVER_NOTE, [_sample(sample) for sample in spread(outcome.samples)]),
            Table("The end", END_NOTE, [end]),
        ]
    )


def _times(name: str, times_ms: list[float]) -> Row:
    return {"asked for": name, "requests": len(times_ms), **_quantiles(times_ms)}


def _waits(who: str, seconds: list[float]) -> Row:
    return {"what": f"seconds, {who}", "count": len(seconds), **_quantiles(seconds), "least": min(seconds)}


def _pictures(crowd: Crowd, tally: Tally) -> Row:
    counts = [float(tally.pictures[number]) for number in range(1, crowd.visitors + 1) if not crowd._is_greedy(number)]
    return {"what": "pictures per visitor", "count": len(counts), **_quantiles(counts), "least": min(counts)}


def _quantiles(values: list[float]) -> Row:
    if len(values) < 2:
        return {"p50": None, "p95": None, "most": max(values, default=None)}
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return {"p50": cuts[9], "p95": cuts[18], "most": max(values)}


def _sample(sample: Sample) -> Row:
    return {
        "second": round(sample.at_s),
        "memory, MB": sample.memory_mb,
        "in line": sample.queue,
        "cache, MB": sample.cached_mb,
    }


def spread(samples: list[Sample]) -> list[Sample]:
    """Some of them, evenly, and the one with most memory."""
    most = max(samples, key=lambda sample: sample.memory_mb or 0)
    return sorted({*samples[:: max(1, len(samples) // SAMPLES)], most}, key=lambda sample: sample.at_s)


# ---- the server -----------------------------------------------------------------------------------


@contextmanager
def serving(log: IO[str], options: tuple[str, ...]) -> Iterator[tuple[subprocess.Popen, str]]:
    """The demo with the embedded model, in a process of its own, which believes what we say of visitors' addresses."""
    command = [sys.executable, "-m", "demo", "--no-open", "--port", "0", "--checkpoint", "tiny"]
    command += ["--trusted-proxies", "127.0.0.1", *options]
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process, _address(process, log)
    finally:
        if process.poll() is None:
            process.kill()


def _address(process: subprocess.Popen, log: IO[str]) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        log.seek(0)
        if found := re.search(r"(http://\S+)/", log.read()):
            return found[1]
        time.sleep(0.1)
    log.seek(0)
    raise RuntimeError(f"python -m demo did not start:\n{log.read()}")


def open_picture(address: str, album: Album) -> str:
    """Where the embedding of a picture is that is encoded and waits."""
    with httpx.Client(base_url=address, timeout=120, trust_env=False) as client:
        reply = client.post("/api/images", content=album.originals[0].data).raise_for_status().json()
        client.get(reply["embedding_url"]).raise_for_status()
        client.get("/api/model").raise_for_status()  # the decoders are exported: what is measured comes afterwards
        return reply["embedding_url"]


def runtime_file() -> dict[str, str]:
    """The page's largest file by name, as a path; nothing where it is not built."""
    static = static_folder()
    file = next(static.glob("vendor/onnxruntime-web-*/ort-wasm-simd-threaded.wasm"), None)
    return {"runtime, 2.4 MB": f"/static/{file.relative_to(static).as_posix()}"} if file else {}


def resident_mb(pid: int) -> float | None:
    """Of a process, where the system tells it in a file."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    return int(found[1]) / 1000 if found else None
