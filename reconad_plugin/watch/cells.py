"""What each cell of the anomaly map shows at each position of the camera.

Cameras of a line stand still, so the map of a normal image looks like those of other images from
the same position: the same edge, the same reflex, the same dirt. A defect is where the others
showed nothing. So each cell of a map is held against what it showed on ordinary nights, in the
deviations of that cell, and the cell that is farthest up is how prominent the image is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from reconad_plugin.watch.positions import LEAST_NIGHTS

MAP_CELLS: Final = "map_cells"  # the column of a table of scores
KNOWN_NIGHTS: Final = 30  # the newest of them say what is ordinary
LEAST_IMAGES: Final = 2  # beyond one a position, for a deviation

Floats = NDArray[np.float64]


def summarise_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Reduce a night's maps to what later nights need of them.

    The table is that of ``statistics.summarise_night``, with a vector an image in ``map_cells``.
    What comes back has one row a position: ``position``, ``images``, and for each cell the
    ``means`` over them and the sums of squared deviations, ``squares``.

    Raises:
        ValueError: the table has no cells.
    """
    cells, position = _cells(table), _positions(table)
    names, group = np.unique(position, return_inverse=True)
    images = np.bincount(group)
    means = _sums(cells, group, len(names)) / images[:, None]
    squares = _sums(np.square(cells - means[group]), group, len(names))
    sums = {"means": list(means.astype(np.float32)), "squares": list(squares.astype(np.float32))}
    return pd.DataFrame({"position": names, "images": images, **sums})


@dataclass(frozen=True)
class KnownCells:
    """Cells of maps as ordinary nights showed them."""

    images: dict[str, int]  # of each position that is known, how many images were seen
    levels: dict[str, Floats]  # of each of them, (C,) means of the cells
    deviation: Floats  # (C,) of a cell of one image from others at its position

    def prominences(self, table: pd.DataFrame) -> Floats:
        """Compute how far each image's most prominent cell is above its level, in deviations: (N,)
        of the images at known positions."""
        position = _positions(table)
        is_known = np.isin(position, list(self.levels))
        if not is_known.any():
            return np.zeros(0)
        seen = position[is_known]
        level = np.stack([self.levels[name] for name in seen])
        images = np.array([self.images[name] for name in seen])
        above = (_cells(table)[is_known] - level) / np.sqrt(1 + 1 / images)[:, None]
        return np.asarray((above / self.deviation).max(1))


def known_cells(nights: Sequence[pd.DataFrame]) -> KnownCells | None:
    """Put ordinary nights of ``summarise_cells`` together, scored by the same version; the newest
    thirty count. The oldest comes first.

    None where no position was seen on two nights, or there are too few images for a deviation.
    """
    if not nights:
        return None
    rows = pd.concat(nights[-KNOWN_NIGHTS:], ignore_index=True)
    seen = rows.groupby("position")["images"].transform("size") >= LEAST_NIGHTS
    rows = rows[seen.to_numpy()]
    if rows.empty:
        return None
    names, group = np.unique(rows["position"].to_numpy(str), return_inverse=True)
    weight = rows["images"].to_numpy(float)
    images = np.bincount(group, weights=weight)
    means = np.stack(list(rows["means"])).astype(np.float64)
    levels = _sums(means * weight[:, None], group, len(names)) / images[:, None]
    between = np.square(means - levels[group]) * weight[:, None]
    squares = (between + np.stack(list(rows["squares"]))).sum(0)
    freedom = images.sum() - len(names)
    if freedom < LEAST_IMAGES or not squares.any():
        return None
    deviation = np.sqrt(squares / freedom)
    # a cell that hardly ever moves must not make much of next to nothing
    deviation = np.maximum(deviation, np.median(deviation[deviation > 0]))
    return KnownCells(
        dict(zip(names.tolist(), images.astype(int).tolist(), strict=True)),
        dict(zip(names.tolist(), levels, strict=True)),
        deviation,
    )


def _cells(table: pd.DataFrame) -> Floats:
    if MAP_CELLS not in table:
        raise ValueError(
            f"a table needs the column {MAP_CELLS}, a vector an image; got {list(table)}"
        )
    return np.stack(list(table[MAP_CELLS])).astype(np.float64)


def _positions(table: pd.DataFrame) -> NDArray[np.str_]:
    if "position" not in table:
        return np.full(len(table), "")
    return table["position"].to_numpy(str)


def _sums(values: Floats, group: NDArray[np.intp], groups: int) -> Floats:
    """Sum the rows of each group: (N, C) -> (G, C)."""
    members = csr_array((np.ones(len(group)), (group, np.arange(len(group)))), (groups, len(group)))
    return np.asarray(members @ values)
