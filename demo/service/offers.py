"""Which models visitors may choose: those that were named at the start, and published ones that can be downloaded."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from sam.checkpoint import EMBEDDED, locate
from sam.hub.downloads import cached_path
from sam.hub.published import PUBLISHED, Published, find_published

_UNFIT = re.compile(r"[^\w.-]+", re.ASCII)
_OUR_LICENCE = "Apache-2.0"


@dataclass(frozen=True)
class Offer:
    """A model by its `id` in addresses and its `title` for people; `source` is what `sam.load_sam` takes.

    file: weights of one's own. published: where others are published.
    """

    id: str
    title: str
    source: str
    file: Path | None = None
    published: Published | None = None

    @property
    def path(self) -> Path | None:
        """The file of its weights, once it is here."""
        published = self.published
        if published is None:
            return self.file if self.file and self.file.exists() else None
        paths = (cached_path(published, file) for file in (published.weights, *published.alternatives))
        return next((path for path in paths if path.exists()), None)

    @property
    def bytes(self) -> int | None:
        """Of the weights' file, here or to be downloaded; None where nobody tells."""
        if path := self.path:
            return path.stat().st_size
        return self.published.weights.size if self.published else None

    @property
    def licence(self) -> str:
        """Empty where it is not known."""
        return self.published.licence if self.published else _OUR_LICENCE if self.source in EMBEDDED else ""

    @property
    def citation(self) -> str:
        """Empty where there is nothing to cite."""
        return self.published.citation if self.published else ""


def offers_of(sources: Iterable[str], *, downloads: bool = False) -> list[Offer]:
    """The models of these sources, then with `downloads` all that are published; every id is another one.

    Raises ValueError for a source that is nothing.
    """
    offers: dict[str, Offer] = {}
    for source in dict.fromkeys((*sources, *(PUBLISHED if downloads else ()))):
        offer = _offer(source)
        id = _free(offer.id, offers)
        offers[id] = replace(offer, id=id)
    return list(offers.values())


def _offer(source: str) -> Offer:
    published = None if _is_own(source) else find_published(source)
    if published:
        return Offer(_fit(published.name), published.title, source, published=published)
    file = locate(source).path  # or it says what there is
    name = source if source in EMBEDDED else Path(source).expanduser().resolve().stem
    return Offer(_fit(name), name, source, file)


def _is_own(source: str) -> bool:
    """Whether `load_sam` takes it for something that is here, as it does before it thinks of what is published."""
    return source in EMBEDDED or Path(source).expanduser().exists()


def _fit(name: str) -> str:
    """As it can stand in an address: letters, digits, dots, lines."""
    return _UNFIT.sub("-", name.replace("/", "--")).strip(".-") or "model"


def _free(id: str, taken: Iterable[str]) -> str:
    """The id, or with a number where another model has it."""
    numbered = (f"{id}-{number}" for number in range(2, 1000))
    return id if id not in taken else next(each for each in numbered if each not in taken)
