"""Where nothing can be written, not even a temporary file, all but the Gradio page works, and the server says so."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from demo_world import png

ROOT = Path(__file__).parents[2]
READ_ONLY = f"""
mount --rbind / "$0" && mount -o remount,ro,bind "$0"
exec chroot "$0" env -i HOME=/nonexistent PYTHONPATH={ROOT} bash -c 'cd {ROOT}; exec "$@"' - "$@"
"""


@pytest.fixture
def read_only(tmp_path) -> list[str]:
    """What to put before a command."""
    prefix = ["unshare", "--mount", "bash", "-euc", READ_ONLY, str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("unshare may not give a process a file system of its own here")
    assert subprocess.run([*prefix, "touch", "/tmp/file"], capture_output=True).returncode
    return prefix


def test_the_page_is_served_from_a_file_system_that_takes_nothing(read_only):
    command = [*read_only, sys.executable, "-m", "demo", "--port", "0", "--no-open"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        told = []
        for line in process.stdout:
            told.append(line)
            if found := re.search(r"http://\S+/", line):
                break
        with httpx.Client(base_url=found[0], timeout=120) as client:
            assert client.get("/").status_code == 200
            reply = client.post("/api/images", content=png(seed=51)).json()
            assert client.get(reply["embedding_url"]).status_code == 200
            assert client.get("/api/model").json()["decoders"]
            assert client.get("/gradio/").status_code == 404
    finally:
        process.terminate()
        rest, _ = process.communicate(timeout=120)
    assert "mount a tmpfs at /tmp, or set TMPDIR" in "".join(told)
    assert "Traceback" not in rest
