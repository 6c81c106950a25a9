"""Everything mode: a grid of points is asked, good masks stay, duplicates go.

`settings` says what can be chosen, `grids` where to ask, `decoder` and `enlarging` how to ask fast, `search` does it,
`candidates` chooses, `generator` is Meta's interface. `runs`, `regions` and `boxes` are arithmetic, `filters` and
`hierarchy` work on finished records.
"""

from .candidates import Record
from .filters import away_from_border, by_area, by_box, by_score, without_duplicates
from .generator import SamAutomaticMaskGenerator, Update
from .hierarchy import Node, tree
from .settings import PRESETS, Settings

__all__ = [
    "PRESETS",
    "Node",
    "Record",
    "SamAutomaticMaskGenerator",
    "Settings",
    "Update",
    "away_from_border",
    "by_area",
    "by_box",
    "by_score",
    "tree",
    "without_duplicates",
]
