"""What protects a server that others reach; by default nothing, as for the person in front of it."""

from __future__ import annotations

from dataclasses import dataclass

from demo.rates import UNLIMITED, Rates


@dataclass(frozen=True)
class Safeguards:
    """How requests are held back, and from whom what is kept from others.

    Args:
        rates: what a client may ask for in a minute.
    """

    rates: Rates = UNLIMITED


NONE = Safeguards()
