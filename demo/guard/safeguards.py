"""What protects a server that others reach; by default nothing, as for the person in front of it."""

from __future__ import annotations

from dataclasses import dataclass

from demo.guard.bodies import PATIENT, BodyPatience
from demo.guard.clients import Network
from demo.guard.rates import UNLIMITED, Rates


@dataclass(frozen=True)
class Safeguards:
    """How requests are held back, and from whom what is kept from others.

    Args:
        rates: what a client may ask for in a minute.
        private: whether pictures are there for the visitor alone who uploaded them.
        metrics: the networks that may read /metrics; where there are none, nothing is counted.
        bodies: how long the body of a request may take.
    """

    rates: Rates = UNLIMITED
    private: bool = False
    metrics: tuple[Network, ...] = ()
    bodies: BodyPatience = PATIENT


NONE = Safeguards()
