"""Which images train, which calibrate, and which judge: decided once, at ingest.

The side is written into the manifest and never changes, so no version is ever judged by, or
calibrated on, what any version was trained on. Two pictures of one part are not independent: where
the settings tell parts, or stretches of time, these are dealt whole (docs/decisions/0031).
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

TRAIN, CALIBRATION, JUDGE = "train", "calibration", "judge"
BORROWED_LIGHT = "light"  # in place of "train" where only the light is learnt, not the picture
FILLING = "filling"  # of a confirmed defect: simulated anomalies are filled from it

_TURN = (TRAIN, CALIBRATION, TRAIN, JUDGE, TRAIN)  # so that 10 images already give 6, 2 and 2
SHARES: Final = {side: _TURN.count(side) / len(_TURN) for side in (TRAIN, CALIBRATION, JUDGE)}


def assign_splits(hashes: Sequence[str], already: int) -> dict[str, str]:
    """Deal new accepted images out in turn, in order of their SHA-256, which has nothing to do with
    time or camera position. The turn goes on after so many that have their side ``already``.

    Example:
        >>> assign_splits(["b7", "a1", "c9"], already=0)
        {'a1': 'train', 'b7': 'calibration', 'c9': 'train'}
    """
    return {
        sha256: _TURN[(already + index) % len(_TURN)] for index, sha256 in enumerate(sorted(hashes))
    }


_LEARNT_FIRST: Final = (TRAIN, CALIBRATION, JUDGE)  # of the sides that pictures of a part are on
_WEIGHTS: Final = {CALIBRATION: 3, TRAIN: 1, JUDGE: 3}  # one over its share; the first of equals
_FEWEST_STRETCHES: Final = 5  # of a delivery: 3, 1 and 1
_MOST_STRETCHES: Final = 20
_LEAST_IMAGES: Final = 5  # of a stretch, where that leaves the fewest


@dataclass(frozen=True)
class SplitRules:
    """Which pictures fall on one side together."""

    part_pattern: str | None = None  # its group tells the part in a picture's name
    # how pictures whose names tell no part are dealt: singly, or by stretches in their order
    split_by: Literal["image", "time"] = "image"

    @property
    def are_single(self) -> bool:
        """Whether each picture is dealt by itself."""
        return self.part_pattern is None and self.split_by == "image"


SINGLY: Final = SplitRules()


def first_group(pattern: str | None, name: str) -> str:
    r"""Return what the first group of a regular expression finds in a name; empty without.

    Example:
        >>> first_group(r"part(\d+)_", "part17_left.png")
        '17'
    """
    found = None if pattern is None else re.search(pattern, name)
    return (found and found.group(1)) or ""  # an optional group may match nothing


def deal_together(
    names: Sequence[str], dealt: Iterable[tuple[str, str]], rules: SplitRules
) -> list[str]:
    """Deal new images out, whole parts and whole stretches, so that three of five pictures train,
    one calibrates and one judges as nearly as their sizes let them.

    A part that was dealt before stays on its side; where its pictures are on several sides, on
    train before calibration before judge, since it is no new part to what learnt it.

    Args:
        names: of the new images, in the order in which they came.
        dealt: name and side of the images that have theirs already.
        rules: what falls on one side.

    Returns:
        The side of each new image.

    Example:
        >>> rules = SplitRules(part_pattern="^(.)")
        >>> deal_together(["a1", "b1", "a2", "c1"], [("c0", "judge")], rules)
        ['train', 'train', 'train', 'judge']
    """
    sides, counts = dict[str, str](), Counter[str]()
    for name, side in dealt:
        part = first_group(rules.part_pattern, name)
        sides[part] = min(sides.get(part, side), side, key=_LEARNT_FIRST.index)
        counts[side] += 1
    found = [""] * len(names)
    for part, images in _together(names, rules, known=sides):
        side = sides[part] if part in sides and part else _most_wanting(counts, len(images))
        counts[side] += len(images)
        for index in images:
            found[index] = side
    return found


def _together(
    names: Sequence[str], rules: SplitRules, known: Iterable[str]
) -> list[tuple[str, list[int]]]:
    """List parts, those that are ``known`` first, and then what has none, each with the indices of
    its images. Parts follow their hash, which has nothing to do with time or camera position."""
    by_part: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        by_part.setdefault(first_group(rules.part_pattern, name), []).append(index)
    others, seen = by_part.pop("", []), frozenset(known)
    parts = sorted(by_part.items(), key=lambda part: (part[0] not in seen, _hash(part[0])))
    if rules.split_by == "image":
        return parts + [("", [index]) for index in sorted(others, key=lambda at: _hash(names[at]))]
    count = min(_MOST_STRETCHES, max(_FEWEST_STRETCHES, len(others) // _LEAST_IMAGES))
    stretches = np.array_split(np.array(others, np.intp), count)
    return parts + [("", stretch.tolist()) for stretch in stretches if len(stretch)]


def _most_wanting(counts: Counter[str], images: int) -> str:
    """Return the side that is farthest below its share, halfway through so many more images."""
    return min(_WEIGHTS, key=lambda side: (2 * counts[side] + images) * _WEIGHTS[side])


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
