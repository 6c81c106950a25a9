"""What a visitor is told instead of a result."""

from __future__ import annotations


class Refused(Exception):
    """What was asked for cannot be done; the message is a plain sentence, and nothing has changed."""
