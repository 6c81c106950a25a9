"""Everything the server refuses, as RFC 9457 problem details.

Problem
├── BadRequest 422              the body is not what the route takes
├── TooManyBytes 413            the body is longer than the limit
├── TooSlow 408                 the body does not arrive
├── TooManyPixels 413           the picture is larger than the limit
├── UnsupportedPicture 415      not one of the picture formats we read
├── BrokenPicture 422           a format we read, but damaged or cut short
├── UnknownPicture 404          never uploaded, or it left the cache
├── UnfitView 422               no view of the picture, or prompts outside of it
├── UnknownSearch 404           no search of this name is under way
├── UnknownDecoder 404          no decoder graph has this hash
├── UnknownModel 404            no model of this name is offered
├── NotDownloaded 409           the model's weights are not on the server
├── NotAgreed 403               a download needs a yes
├── NoDownload 403              whoever runs the server has not agreed to downloads
├── DownloadFailed 502          the weights could not be had
├── ModelFailed 500             the weights are here and could not be loaded
├── OtherHost 421               the request is for a server of another name
├── OtherSite 403               a page of another site asks
├── UnfitObjects 422            the objects cannot be written in the format
├── OtherWeights 409            the address names weights that are not loaded
├── TooManyRequests 429         one client asks more often than it may
├── Busy 503                    the line before a worker is full
│   └── Stalled 503             a worker does not come back from what it does
├── EncodeFailed 500            the model raised
└── Unexpected 500              a fault of ours; the detail stays in the log
"""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar

_SHOWN = 100
"""Characters of what was sent that a refusal repeats."""


class Problem(Exception):
    """A refusal with a status, a title that never changes, a detail for this case and extension members."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"

    def __init__(self, detail: str, **extensions: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extensions = extensions

    @classmethod
    def slug(cls) -> str:
        """The class name in kebab case: the last part of the problem's type address."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    @classmethod
    def code(cls) -> str:
        """The problem's type, which says to a program what happened."""
        return f"/problems/{cls.slug()}"

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to the refusal itself."""
        return {}

    def document(self) -> dict[str, Any]:
        """The problem details object."""
        members = {"type": self.code(), "title": self.title, "status": self.status, "detail": self.detail}
        return {**members, **self.extensions}


class BadRequest(Problem):
    status, title = 422, "The request is not what this address takes"


class TooManyBytes(Problem):
    status, title = 413, "The body is too long"

    def __init__(self, limit: int, given: int | None = None) -> None:
        size = f"{given} bytes" if given is not None else "more bytes"
        super().__init__(f"{size} given, at most {limit} allowed", limit=limit, **_given(given))


class TooSlow(Problem):
    status, title = 408, "The body takes too long to arrive"

    def __init__(self, received: int, seconds: float) -> None:
        super().__init__(f"{received} bytes came in {seconds:.0f} seconds", received=received)

    @property
    def headers(self) -> dict[str, str]:
        """The rest of the body would be taken for the next request."""
        return {"Connection": "close"}


class TooManyPixels(Problem):
    status, title = 413, "The picture has too many pixels"

    def __init__(self, limit: int, given: int | None = None) -> None:
        size = f"{given} pixels" if given is not None else "more pixels"
        super().__init__(f"{size} given, at most {limit} allowed", limit=limit, **_given(given))


class UnsupportedPicture(Problem):
    status, title = 415, "Not a picture format that is read here"


class BrokenPicture(Problem):
    status, title = 422, "The picture is damaged or cut short"


class UnknownPicture(Problem):
    status, title = 404, "The picture is not here; upload it again"


class UnfitView(Problem):
    status, title = 422, "This is no view of the picture"


class UnknownSearch(Problem):
    status, title = 404, "No search of this name is under way"


class UnknownDecoder(Problem):
    status, title = 404, "No decoder graph has this hash"


class UnknownModel(Problem):
    status, title = 404, "No model of this name is offered here"


class NotDownloaded(Problem):
    status, title = 409, "The model is not downloaded yet"


class NotAgreed(Problem):
    status, title = 403, "Nobody has agreed to this download"


class NoDownload(Problem):
    status, title = 403, "Models are not downloaded from here"


class DownloadFailed(Problem):
    status, title = 502, "The download failed"


class ModelFailed(Problem):
    status, title = 500, "The model could not be loaded"


class UnfitObjects(Problem):
    status, title = 422, "The objects cannot be written in this format"


class OtherWeights(Problem):
    status, title = 409, "The address names weights that are not loaded"


class OtherHost(Problem):
    status, title = 421, "The server does not go by this name"

    def __init__(self, given: str) -> None:
        given = given[:_SHOWN]
        super().__init__(f"{given!r} was asked for; --allowed-hosts names what the server goes by", given=given)


class OtherSite(Problem):
    status, title = 403, "A page of another site asks for this"

    def __init__(self, origin: str) -> None:
        origin = origin[:_SHOWN]
        detail = f"a page of {origin or 'another site'}; where it is the server's own, name its host in --allowed-hosts"
        super().__init__(detail, origin=origin)


class ComeAgain(Problem):
    """A refusal for now: `retry_after_s`, in whole seconds, is told in the document and in Retry-After."""

    def __init__(self, detail: str, *, retry_after_s: float, **extensions: Any) -> None:
        super().__init__(detail, retry_after_s=math.ceil(retry_after_s), **extensions)

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.extensions["retry_after_s"])}


class Busy(ComeAgain):
    status, title = 503, "Too much work is waiting; try again"


class Stalled(Busy):
    title = "A worker does not come back; try again"


class TooManyRequests(ComeAgain):
    status, title = 429, "You ask too often; try again"

    def __init__(self, what: str, limit: int, *, retry_after_s: float) -> None:
        super().__init__(
            f"{what} of one client are limited to {limit} a minute", retry_after_s=retry_after_s, limit=limit
        )


class EncodeFailed(Problem):
    status, title = 500, "The model could not encode the picture"


class Unexpected(Problem):
    status, title = 500, "Something went wrong on the server"


class HttpProblem(Problem):
    """A refusal by the router itself: no such address, a method that is not allowed."""

    def __init__(self, status: int, title: str) -> None:
        super().__init__(title)
        self.status, self.title = status, title  # type: ignore[misc]

    def document(self) -> dict[str, Any]:
        return {**super().document(), "type": "about:blank"}


def _given(given: int | None) -> dict[str, int]:
    return {} if given is None else {"given": given}
