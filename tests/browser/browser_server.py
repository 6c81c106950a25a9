"""`python -m demo` in a process of its own, and a tripwire for whatever wants to leave the machine."""

import os
import re
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE_S = 300
DISCRETION = ("CI", "ORT_DISABLE_TELEMETRY", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK")
"""Variables that keep libraries from calling home; a person who starts the demo may have none of them."""


class DemoServer:
    """The demo as a person starts it; once started it keeps its port over restarts."""

    def __init__(self, log: Path, checkpoint: str, environment: dict[str, str]) -> None:
        self._log, self.checkpoint = log, checkpoint
        own = {name: value for name, value in os.environ.items() if name not in DISCRETION}
        self._environment = own | environment
        self._process: subprocess.Popen | None = None
        self.address = ""

    @property
    def port(self) -> int:
        return int(self.address.rstrip("/").rpartition(":")[2]) if self.address else 0

    def start(self) -> None:
        options = ["--no-open", "--port", str(self.port), "--checkpoint", self.checkpoint]
        command = [sys.executable, "-m", "demo", *options]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.address = self._printed_address()

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(PATIENCE_S)

    @contextmanager
    def away(self, checkpoint: str | None = None) -> Iterator[None]:
        """A time without the server; then a new process answers at the same address, with other weights if told."""
        self.stop()
        self.checkpoint = checkpoint or self.checkpoint
        try:
            yield
        finally:
            self.start()

    def _printed_address(self) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if found := re.search(r"http://\S+/", self._log.read_text()):
                return found[0]
            time.sleep(0.1)
        self._process.kill()
        raise RuntimeError(f"python -m demo did not start:\n{self._log.read_text()}")


class Tripwire(socketserver.ThreadingTCPServer):
    """A proxy that forwards nothing: pages and server are told to use it, so `calls` are attempts to leave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Refuse)
        self.calls: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that send a process's requests here, those to this machine excepted."""
        proxies = {name: self.address for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")}
        home = "127.0.0.1,localhost"
        upper = proxies | {"NO_PROXY": home}
        return upper | {name.lower(): value for name, value in upper.items()}


class _Refuse(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.server.calls.append(self.rfile.readline(1000).decode("latin-1").strip())
        self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
