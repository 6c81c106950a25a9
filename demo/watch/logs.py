"""Logs for machines: one JSON object a line, for every request and whatever else is said.

A request is its route, status, times and the network that it came from: an IPv4 /24 or an IPv6 /48. No address tells
more, and no line has the name, the hash or a pixel of a picture.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from ipaddress import ip_network

from demo.guard.clients import NOBODY
from demo.watch.observing import Asked

FORMATS = ("text", "json")
_REQUESTS = logging.getLogger("demo.requests")
_NETWORKS = {4: 24, 6: 48}


class JsonLines(logging.Formatter):
    """A record as one line of JSON; a record's `fields` are members beside the usual ones."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_as_json() -> None:
    """From now on all loggers write JSON to the standard error, and requests are logged."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    _REQUESTS.setLevel(logging.INFO)


def log_request(asked: Asked) -> None:
    """One line, where requests are logged."""
    fields = {
        "method": asked.method,
        "route": asked.route,
        "status": asked.status,
        "problem": asked.problem,
        "first_s": round(asked.first_s, 4),
        "seconds": round(asked.seconds, 4),
        "sent_bytes": asked.sent_bytes,
        "network": network_of(asked.client),
    }
    _REQUESTS.info("%s %s %s", asked.method, asked.route, asked.status, extra={"fields": fields})


def network_of(client: str) -> str:
    """The network of a client, in which nobody is told from their neighbours."""
    if client == NOBODY:
        return NOBODY
    network = ip_network(client, strict=False)
    return str(network.supernet(new_prefix=_NETWORKS[network.version]))
