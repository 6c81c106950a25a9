"""Pictures too large to look at in one piece, up to gigapixels: everything mode and prompts.

`sources` reads windows of a picture, `views` says which window is looked at and how coarsely, `runs` moves masks
between the two. `picker` chooses the view for a prompt and `picture` answers it; `tiles` lays views over the picture,
`seams` joins what they cut, and `generator` finds everything. No step needs more memory than a view and the source's
limit, and no mask is ever a bitmap of the whole picture.
"""

from .generator import TiledMaskGenerator
from .picker import on_grid, pick_view
from .picture import LargeMask, LargePicture
from .sources import ArraySource, Source, open_picture, picture_hw
from .views import View

__all__ = [
    "ArraySource",
    "LargeMask",
    "LargePicture",
    "Source",
    "TiledMaskGenerator",
    "View",
    "on_grid",
    "open_picture",
    "pick_view",
    "picture_hw",
]
