#!/usr/bin/env python3
"""Replays the Dockerfile where no container engine runs: python .ci/replay_dockerfile.py FOLDER

Every stage is this machine's file system with an overlay of its own (Linux, as root), so its node and python stand in
for the base images; instructions are run as they are written. The last stage's command then runs as its user, without
capabilities, on a read-only root with a tmpfs at /tmp: its health check must pass, a picture that is being encoded
when SIGTERM comes must be answered, and the process must end by itself.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PORT = "7869"
PASSED_ON = ("PIP_", "NPM_CONFIG_", "npm_config_", "SSL_CERT", "NODE_EXTRA", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
SYSTEM_PATH = os.environ["PATH"]  # the base images have their tools on it too
UNPRIVILEGED = "setpriv --reuid={user} --regid={user} --clear-groups --no-new-privs --bounding-set=-all"


@dataclass
class Stage:
    """One FROM: an overlay over this machine, and what its instructions have set."""

    folder: Path
    variables: dict[str, str] = field(default_factory=lambda: {"PATH": SYSTEM_PATH, "HOME": "/root"})
    workdir: str = "/"
    user: str = "0"
    check: str = ""
    command: list[str] = field(default_factory=list)

    @property
    def upper(self) -> Path:
        return self.folder / "upper"

    def script(self, command: str, *, ends: bool = False) -> list[str]:
        """`command` in this stage's own mount namespace; `ends`: as a container runs it, on a read-only root."""
        root = shlex.quote(str(self.folder / "root"))
        layers = f"lowerdir=/,upperdir={self.upper},workdir={self.folder}/work"
        steps = [f"mount -t overlay overlay -o {layers} {root}"]
        steps += [f"mount --rbind /{name} {root}/{name}" for name in ("proc", "dev", "sys")]
        if ends:
            steps += [f"mount -t tmpfs tmpfs {root}/tmp", f"mount -o remount,ro,bind {root} {root}"]
        inside = f"cd {self.workdir} && {command}"
        become = UNPRIVILEGED.format(user=self.user) + " " if self.user != "0" else ""
        steps.append(f"exec chroot {root} {become}bash -c {shlex.quote(inside)}")
        return ["unshare", "--mount", "bash", "-euc", "\n".join(steps)]

    def environment(self) -> dict[str, str]:
        passed_on = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
        return passed_on | self.variables

    def run(self, command: str) -> None:
        subprocess.run(self.script(command), env=self.environment(), check=True)


def main(folder: Path) -> None:
    stages = build(folder)
    final = stages[list(stages)[-1]]
    (final.upper / "root").mkdir(exist_ok=True)
    (final.upper / "root").chmod(0o711)  # this machine's python may lie there; an image's does not
    print(f"=> {du(final)} MB in the last stage", flush=True)
    serve(final)


def instructions() -> list[tuple[str, str]]:
    lines = re.sub(r"\\\n", "", (ROOT / "Dockerfile").read_text()).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line and not line.startswith("#")]


def build(folder: Path) -> dict[str, Stage]:
    context = make_context(folder / "context")
    stages: dict[str, Stage] = {}
    for word, rest in instructions():
        print(f"=> {word} {rest}", flush=True)
        began = time.monotonic()
        if word == "FROM":
            name = rest.partition(" AS ")[2] or "final"
            stage = stages[name] = Stage(folder / name)
            for each in ("upper", "work", "root"):
                (stage.folder / each).mkdir(parents=True)
            stage.run("name=$(id -nu 1000 2>/dev/null) && userdel $name || true")  # the images have no such user
        elif word == "RUN":
            stage.run(rest)
            print(f"   {time.monotonic() - began:.0f} s", flush=True)
        elif word == "COPY":
            copy(rest, stage, stages, context)
        elif word == "ENV":
            values = dict(pair.split("=", 1) for pair in shlex.split(rest))
            stage.variables |= {name: value.replace("$PATH", stage.variables["PATH"]) for name, value in values.items()}
        elif word == "WORKDIR":
            stage.workdir = rest
            (stage.upper / rest.strip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "USER":
            stage.user = rest
        elif word == "HEALTHCHECK":
            stage.check = rest.partition("CMD ")[2]
        elif word == "CMD":
            stage.command = json.loads(rest)
        elif word not in ("ARG", "EXPOSE"):
            raise ValueError(f"the replay does not know {word}")
    return stages


def make_context(folder: Path) -> Path:
    """What a commit holds, without what .dockerignore leaves out."""
    folder.mkdir(parents=True)
    archive = folder.with_suffix(".tar")
    subprocess.run(["git", "archive", "-o", archive, "HEAD"], cwd=ROOT, check=True)
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="tar")
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for path in folder.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


def copy(rest: str, stage: Stage, stages: dict[str, Stage], context: Path) -> None:
    *sources, target = rest.split()
    origin = context
    if sources[0].startswith("--from="):
        origin = stages[sources.pop(0).removeprefix("--from=")].upper
    into = stage.upper / os.path.join(stage.workdir, target).strip("/")
    for source in sources:
        path = origin / source.lstrip("/")
        if path.is_dir():
            shutil.copytree(path, into, symlinks=True, dirs_exist_ok=True)
        else:
            into.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, into)


def du(stage: Stage) -> int:
    return sum(path.lstat().st_size for path in stage.upper.rglob("*") if path.is_file()) // 1_000_000


def serve(stage: Stage) -> None:
    stage.variables |= {"SAM_DEMO_PORT": PORT, "HOME": "/home/sam"}
    command = stage.script("exec " + shlex.join(stage.command), ends=True)
    print(f"=> {shlex.join(stage.command)} as user {stage.user}, read-only root", flush=True)
    server = subprocess.Popen(command, env=stage.environment())
    try:
        until_healthy(stage, server)
        address = f"http://127.0.0.1:{PORT}"
        picture = (ROOT / "static/gallery/coffee.jpg").read_bytes()
        with urllib.request.urlopen(urllib.request.Request(address + "/api/images", picture)) as answer:
            reply = json.load(answer)
        waiting = subprocess.Popen(["curl", "-fsS", "-o", "/dev/null", address + reply["embedding_url"]])
        time.sleep(0.2)
        server.send_signal(signal.SIGTERM)
        print(f"=> SIGTERM while encoding: curl {waiting.wait(60)}, server {server.wait(60)}", flush=True)
        if waiting.returncode or server.returncode not in (0, -signal.SIGTERM):
            raise SystemExit("the answer was lost, or the server did not end in order")
    finally:
        server.kill()


def until_healthy(stage: Stage, server: subprocess.Popen) -> None:
    check = stage.script(stage.check, ends=True)
    for _ in range(180):
        if subprocess.run(check, env=stage.environment(), stderr=subprocess.DEVNULL).returncode == 0:
            return print("=> healthy", flush=True)
        if server.poll() is not None:
            break
        time.sleep(1)
    raise SystemExit("the health check never passed")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
