"""How often a client may ask for what costs: a bucket of tokens for each, which fills as time goes by.

A rate of 30 uploads a minute is a bucket of 30: so many at once, then one every two seconds. Buckets of clients that
stay away are full again and forgotten; of the others the latest `MOST_CLIENTS` are kept.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from demo.answers import Refusal
from demo.guard.clients import client_of
from demo.guard.headers import GRADIO_PATH
from demo.guard.hosting import Hosting
from demo.problems import TooManyRequests

MOST_CLIENTS = 10_000
_MINUTE_S = 60
_GRADIO = re.escape(GRADIO_PATH) + "/gradio_api/"
COSTLY = {
    "uploads": re.compile(rf"POST (/api/images|{_GRADIO}upload)|GET /api/images/[^/]+"),
    "models": re.compile(r"(POST|DELETE) /api/models/[^/]+/(load|download)"),
    "searches": re.compile(r"POST /api/images/[^/]+/everything"),
    "views": re.compile(r"GET /api/(images/[^/]+/views|embeddings/[^/]+/[^/]+/[^/]+)/[^/]+"),
    "pictures": re.compile(r"GET /api/images/[^/]+/picture"),
    "prompts": re.compile(rf"POST (/api/images/[^/]+/(decode|predict)|{_GRADIO}(queue/join|call/\w+))"),
}
"""What is counted together: method and path, without a prefix. In Gradio every step asks the model."""


@dataclass(frozen=True)
class Rates:
    """Requests of each kind that a client may make in a minute; None for any number.

    Raises ValueError naming what is wrong.
    """

    uploads: int | None = None
    prompts: int | None = None
    searches: int | None = None
    models: int | None = None
    views: int | None = None
    pictures: int | None = None

    def __post_init__(self) -> None:
        for name in COSTLY:
            rate = getattr(self, name)
            if rate is not None and not 1 <= rate <= 1_000_000:
                raise ValueError(f"rate-limits has {name}={rate}; allowed is 1 to 1000000 a minute")


UNLIMITED = Rates()
PUBLIC = Rates(uploads=30, prompts=1200, searches=10, models=10, views=120, pictures=60)
"""For a server that others reach. A page that cannot decode itself asks for up to twenty masks a second, and twice for
each closer view.
"""


def read_rates(text: str) -> Rates:
    """ "uploads=30,searches=5" -> Rates; ValueError says what was given and what is allowed."""
    given = {}
    for part in text.replace(",", " ").split():
        name, _, number = part.partition("=")
        if name not in COSTLY or not number.isdecimal():
            raise ValueError(f"rate-limits has {part!r}; allowed are off and {'=30,'.join(COSTLY)}=30, a minute")
        given[name] = int(number)
    return Rates(**given)


@dataclass
class _Bucket:
    tokens: float
    at: float


class Buckets:
    """The buckets of all clients for one kind of request. Not for several threads."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self._clock = per_minute, clock
        self._of: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._of)

    def take(self, client: str) -> float:
        """Take a token: 0, or the seconds until there is one."""
        now = self._clock()
        bucket = self._of.pop(client, None) or _Bucket(self.per_minute, now)
        bucket.tokens = min(self.per_minute, bucket.tokens + (now - bucket.at) * self.per_minute / _MINUTE_S)
        bucket.at = now
        self._of[client] = bucket  # last in line
        self._forget(now)
        if bucket.tokens < 1:
            return (1 - bucket.tokens) * _MINUTE_S / self.per_minute
        bucket.tokens -= 1
        return 0.0

    def _forget(self, now: float) -> None:
        """A minute fills any bucket, so what was not used for one says nothing; of what was, the oldest goes."""
        while len(self._of) > MOST_CLIENTS or now - next(iter(self._of.values())).at > _MINUTE_S:
            self._of.popitem(last=False)


class RateLimits:
    """ASGI middleware that refuses what a client asks for too often, before its body is read."""

    def __init__(
        self, app: ASGIApp, rates: Rates, hosting: Hosting, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.app, self.hosting = app, hosting
        limited = {name: getattr(rates, name) for name in COSTLY}
        self._buckets: Mapping[str, Buckets] = {name: Buckets(rate, clock) for name, rate in limited.items() if rate}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._problem(scope) if scope["type"] == "http" else None
        await (Refusal(problem) if problem else self.app)(scope, receive, send)

    def _problem(self, scope: Scope) -> TooManyRequests | None:
        asked = f"{scope['method']} {self.hosting.route_path(scope['path'])}"
        for name, buckets in self._buckets.items():
            if COSTLY[name].fullmatch(asked) and (wait_s := buckets.take(client_of(scope))):
                return TooManyRequests(name, buckets.per_minute, retry_after_s=wait_s)
        return None
