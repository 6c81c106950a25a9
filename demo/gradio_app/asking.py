"""Between a request and the work: whose visit it is, which files it may name, and refusals as sentences."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import gradio as gr

from demo.gradio_app.refused import Refused
from demo.gradio_app.visits import Visit, Visits
from demo.gradio_app.work import sentence
from demo.guard.visitors import visitor_of
from demo.problems import Problem


def visit_of(visits: Visits, request: gr.Request) -> Visit:
    """The visit that a request belongs to: two visitors have two, even if one guesses the other's session."""
    return visits.of(visitor_of(request.request.scope), request.session_hash or "")


@contextmanager
def told():
    """What is refused is shown to the visitor as a sentence."""
    try:
        yield
    except (Problem, Refused) as error:
        raise gr.Error(sentence(error), print_exception=False, title="Not done") from None


def require_upload(visits: Visits, file: str | None) -> None:
    """Refused for no file, and for one that some visit made: uploads are opened, nothing else."""
    if file is None:
        raise Refused("No file came with the question; send a picture.")
    if Path(file).resolve().is_relative_to(visits.folder.resolve()):
        raise Refused("That file was not uploaded; upload the picture.")
