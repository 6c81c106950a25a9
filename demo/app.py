"""The application: routes, what stands before them and problems, over a service that is handed in.

Imports neither torch nor the service.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, RedirectResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from demo.answers import Refusal
from demo.guard.bodies import TimedBodies
from demo.guard.headers import GRADIO_PATH, SecurityHeaders, security_headers
from demo.guard.hosting import DIRECT, Hosting, UnderRootPath
from demo.guard.origins import OwnOrigin
from demo.guard.privacy import PrivateVisits, require_owner
from demo.guard.rates import RateLimits
from demo.guard.safeguards import NONE, Safeguards
from demo.problems import (
    BadRequest,
    HttpProblem,
    Problem,
    Unexpected,
)
from demo.routes.models import add_model_routes
from demo.routes.page import Document, StaticPage, static_folder
from demo.routes.pictures import add_picture_routes
from demo.routes.prompts import add_prompt_routes
from demo.routes.reference import add_reference, describe
from demo.schemas import (
    HealthReply,
    Service,
)
from demo.watch.logs import log_request
from demo.watch.metrics import Metrics
from demo.watch.observing import Asked, Observed

log = logging.getLogger(__name__)


def create_app(
    service: Service, *, static: Path | None = None, hosting: Hosting = DIRECT, safeguards: Safeguards = NONE
) -> FastAPI:
    """The application over `service`, with the page from `static` (default: where the package keeps it)."""
    app = create_bare_app(service, hosting=hosting, safeguards=safeguards)
    add_model_routes(app, service, hosting.root_path)
    add_picture_routes(app, service, hosting.root_path)
    add_prompt_routes(app, service, hosting.root_path)
    add_reference(app)
    _add_page(app, static or static_folder(), hosting.root_path)
    return app


def create_bare_app(service: Service, *, hosting: Hosting = DIRECT, safeguards: Safeguards = NONE) -> FastAPI:
    """An application that keeps `service` alive, with security headers, problems and health, and nothing to see yet."""
    app = FastAPI(
        title="Segment anything",
        description=describe(service.limits),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # to whole addresses, which name the host and scheme behind a proxy
        lifespan=_lifespan(service),
        dependencies=[Depends(require_owner)] if safeguards.private else [],
    )
    app.state.service = service
    app.add_middleware(TimedBodies, patience=safeguards.bodies)
    if safeguards.private:
        app.add_middleware(PrivateVisits, hosting=hosting)
    app.add_middleware(RateLimits, rates=safeguards.rates, hosting=hosting)
    app.add_middleware(OwnOrigin, hosting=hosting)
    app.add_middleware(Observed, hosting=hosting, tell=_observers(app, service, safeguards))
    app.add_middleware(SecurityHeaders, hosting=hosting)
    app.add_middleware(UnderRootPath, hosting=hosting)
    _add_problem_handlers(app, hosting)

    @app.get("/healthz", summary="Whether the server is well, and how much waits", tags=["model"])
    async def health(response: Response) -> HealthReply:
        """503 where nothing can be encoded any more and only a new process helps: what watches may start one."""
        reply = service.health()
        response.status_code = 200 if reply.status == "ok" else 503
        return reply

    return app


def _observers(app: FastAPI, service: Service, safeguards: Safeguards) -> list[Callable[[Asked], None]]:
    """Who is told of every request that ended."""
    if not safeguards.metrics:
        return [log_request]
    metrics = Metrics(service)
    metrics.add_route(app, safeguards.metrics)
    return [log_request, metrics.count]


def _lifespan(service: Service):
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.warm_up()
        yield
        service.close()

    return lifespan


# ---- routes ---------------------------------------------------------------------------------------


def _add_page(app: FastAPI, static: Path, prefix: str) -> None:
    files, document = StaticPage(directory=static, check_dir=False), Document(static)

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        """`?source` asks for the page's modules as they are written."""
        return files.document(document.source if "source" in request.query_params else document.path, request.scope)

    @app.get(GRADIO_PATH, include_in_schema=False)
    async def fallback_page() -> Response:
        return RedirectResponse(prefix + GRADIO_PATH + "/")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:  # Gradio's page, among others, asks for it here without being told to
        return FileResponse(static / "icon.svg", headers={"Cache-Control": "no-cache"})

    app.mount("/static", files)


# ---- refusals -------------------------------------------------------------------------------------


def _bad_request(errors: list[dict]) -> BadRequest:
    faults = [_fault(error) for error in errors]
    detail = "; ".join(f"{fault['where']}: {fault['what']}" for fault in faults)
    return BadRequest(detail, faults=faults)


def _fault(error: dict) -> dict[str, str]:
    where = ".".join(str(part) for part in error["loc"]) or "body"
    return {"where": where, "what": error["msg"].removeprefix("Value error, ")}


def _add_problem_handlers(app: FastAPI, hosting: Hosting) -> None:
    @app.exception_handler(Problem)
    async def refuse(request: Request, problem: Problem) -> Response:
        return Refusal(problem)

    @app.exception_handler(RequestValidationError)
    async def refuse_parameters(request: Request, error: RequestValidationError) -> Response:
        return Refusal(_bad_request(list(error.errors())))

    @app.exception_handler(HTTPException)
    async def refuse_address(request: Request, error: HTTPException) -> Response:
        return Refusal(HttpProblem(error.status_code, error.detail), error.headers)

    @app.exception_handler(ClientDisconnect)
    async def say_nothing(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=400)  # whoever broke the upload off is not there to read it

    @app.exception_handler(Exception)
    async def apologise(request: Request, error: Exception) -> Response:
        # Starlette answers these outside every middleware, so the security headers are added here.
        headers = security_headers(hosting.route_path(request.url.path), hosting)
        return Refusal(Unexpected("the log of the server says more"), headers)
