"""Nothing is downloaded without a yes, and the yes is asked for with size, licence, place and what verifies it."""

import hashlib
import sys

import pytest
from file_server import FileServer, file_server, ranges

from sam.__main__ import main
from sam.hub.downloads import Progress
from sam.hub.published import PUBLISHED, Published, RemoteFile, find_published
from sam.obtaining import NotAgreedError, ProgressLine, ask, missing_checkpoint, obtain

CONTENT = b"weights" * 1000


@pytest.fixture
def server(tmp_path, monkeypatch) -> FileServer:
    """Serves the checkpoint `fake`, for a home of this test's own."""
    monkeypatch.setenv("SAM_HOME", str(tmp_path / "home"))
    with file_server(CONTENT, ranges()) as server:
        file = RemoteFile("fake.pth", server.address, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
        monkeypatch.setitem(PUBLISHED, "fake", Published("fake", "A fake", file, "CC0", "Nobody 2026", "here"))
        yield server


def terminal(monkeypatch, answer: str) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: answer)
    monkeypatch.setattr(ask, "__defaults__", (lambda prompt: answer,))


@pytest.mark.parametrize("answer", ["", "n", "nope", "yess"])
def test_anything_but_yes_is_a_no(server, monkeypatch, answer):
    terminal(monkeypatch, answer)
    told = r"fake is not on this machine; agree with --download \(verified .*\), or download http"
    with pytest.raises(NotAgreedError, match=told):
        obtain(PUBLISHED["fake"])
    assert server.asked == []


@pytest.mark.parametrize("answer", ["y", "YES ", "yes"])
def test_a_yes_on_a_terminal_is_enough(server, monkeypatch, answer, capsys):
    terminal(monkeypatch, answer)
    assert obtain(PUBLISHED["fake"]).read_bytes() == CONTENT
    said = capsys.readouterr().out
    assert all(part in said for part in ("A fake", "0 MB", server.address, "CC0", "Nobody 2026", "fake.pth"))
    assert f"  verified against SHA-256 {hashlib.sha256(CONTENT).hexdigest()[:12]}" in said


@pytest.mark.parametrize("name", ["owner/name", "hf:owner/name"])
def test_what_has_no_published_digest_is_called_unverified_before_the_yes(name, capsys):
    with pytest.raises(NotAgreedError, match="unverified: no SHA-256 is published"):
        obtain(find_published(name))
    assert not ask(find_published(name), lambda question: "n")
    assert "\n  unverified: no SHA-256 is published" in capsys.readouterr().out


def test_without_a_terminal_nobody_can_agree_by_accident(server, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(NotAgreedError):
        obtain(PUBLISHED["fake"])
    assert server.asked == []


def test_what_is_here_needs_no_consent(server):
    path = obtain(PUBLISHED["fake"], agreed=True)
    assert obtain(PUBLISHED["fake"]) == path and len(server.asked) == 1
    assert missing_checkpoint("fake") is None


def test_the_command_line_downloads_and_lists(server, capsys):
    assert missing_checkpoint("fake") is PUBLISHED["fake"]
    assert main(["download", "fake", "--yes"]) == 0
    assert capsys.readouterr().out.strip().endswith("checkpoints/fake.pth")
    assert main(["models"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "here" in lines["fake"] and "here" not in lines["vit_b"] and "375 MB" in lines["vit_b"]


def test_an_unknown_name_is_one_sentence(server, capsys):
    assert main(["download", "vit_x", "--yes"]) == 2
    assert "vit_x is no published checkpoint (vit_b, " in capsys.readouterr().err


@pytest.mark.parametrize("source", ["tiny", "no/such/file.pth", "nothing"])
def test_files_and_embedded_models_are_never_downloaded(source):
    assert missing_checkpoint(source) is None


def test_progress_without_a_terminal_is_a_line_for_every_tenth(capsys):
    line = ProgressLine("A fake")
    for done in range(0, 101):
        line.show(Progress(done * 1_000_000, 100_000_000, 5e6))
    line.end()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[5] == "A fake:  50% of 100 MB, 5.0 MB/s, 10 s left"
