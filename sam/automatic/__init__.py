"""Everything mode: a grid of points is asked, good masks stay, duplicates go.

`settings` says what can be chosen, `grids` where to ask, `decoder` and `enlarging` how to ask fast, `search` does it,
`candidates` chooses, `generator` is Meta's interface. `runs`, `regions` and `boxes` are arithmetic, `filters` and
`hierarchy` work on finished records.
"""

from .candidates import Record
from .generator import SamAutomaticMaskGenerator, Update
from .settings import PRESETS, Settings

__all__ = ["PRESETS", "Record", "SamAutomaticMaskGenerator", "Settings", "Update"]
