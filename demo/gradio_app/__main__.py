"""`python -m demo.gradio_app`: this page alone, with the options of `python -m demo`; its root leads to it.

An app.py of a Space with Gradio's SDK is two lines: `from demo.gradio_app.__main__ import main` and `main()`, with
SAM_DEMO_HOST and SAM_DEMO_PORT among the Space's variables.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from demo.__main__ import load, serve
from demo.app import create_bare_app
from demo.gradio_app import mount_gradio
from demo.guard.headers import GRADIO_PATH
from demo.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; 0, or 2 with a sentence when what was asked for cannot be done."""
    return serve(arguments, build)


def build(settings: Settings) -> FastAPI:
    """The application: model, service and the page, without the full page and its routes."""
    service = load(settings)
    app = create_bare_app(service, hosting=settings.hosting, safeguards=settings.safeguards)
    address = settings.root_path + GRADIO_PATH + "/"
    for path in ("/", GRADIO_PATH):
        app.add_api_route(path, lambda: RedirectResponse(address), include_in_schema=False)
    return mount_gradio(app, service, root_path=settings.root_path, private=settings.private)


if __name__ == "__main__":
    sys.exit(main())
