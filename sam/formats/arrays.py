"""NumPy: one .npz that `numpy.load` reads without pickle.

`ids` (L, H, W) uint16 holds the masks in as many layers as their overlaps need, 0 for nothing; object k is
`ids[layer[k]] == id[k]`. Beside it stand `labels`, `colours`, `scores` (NaN where there is none) and `visible`.
"""

from __future__ import annotations

import io
import math

import numpy as np

from .archive import pack
from .session import Files, Session
from .shapes import into_layers

MOST_IDS = 65535


def write(session: Session) -> Files:
    """NAME.npz."""
    layers = into_layers(session.objects, session.picture, MOST_IDS)
    arrays = {
        "ids": np.stack(layers.ids),
        "layer": np.array(layers.layer, dtype=np.uint16),
        "id": np.array(layers.id, dtype=np.uint16),
        "labels": np.array([item.label for item in session.objects], dtype=np.str_),
        "colours": np.array([item.colour for item in session.objects], dtype=np.str_),
        "scores": np.array([math.nan if item.score is None else item.score for item in session.objects], np.float64),
        "visible": np.array([item.visible for item in session.objects], dtype=bool),
    }
    return {f"{session.picture.stem}.npz": pack({f"{name}.npy": npy(array) for name, array in arrays.items()})}


def npy(array: np.ndarray) -> bytes:
    """The contents of an .npy file."""
    with io.BytesIO() as file:
        np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)
        return file.getvalue()
