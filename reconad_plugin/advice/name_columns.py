"""Where a camera's position may stand in the names of files: a column that takes few values."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

MOST_POSITIONS: Final = 16
LEAST_IMAGES: Final = 2  # that each position must have; else it is a running number
_GAP: Final = "[_. -]"
_VALUE: Final = "[^_. /-]"  # a character of a column
_LETTER: Final = re.compile("[A-Za-z]")


@dataclass(frozen=True)
class NamedPositions:
    """Positions as the names of files tell them."""

    pattern: str  # a regular expression with one group, as `position_pattern` takes it
    images: Mapping[str, int]  # position -> how many images
    are_words: bool  # such as ``left``; numbers may as well be lots or angles


def find_positions(names: Sequence[str]) -> NamedPositions | None:
    """Find the column of the files' names that best tells positions; None where no column does.

    Columns stand between ``_``, ``-``, dots and spaces. One with words goes before one with
    numbers, and one with fewer values before one with more. The pattern counts columns and names no
    values, so that it finds a camera that comes later too, and a word that another column has is
    not taken for it.

    Args:
        names: of all pictures of one night, below the night, with their endings.

    Example:
        >>> find_positions(["1_left.png", "2_left.png", "3_right.png", "4_right.png"]).pattern
        '(?:^|/)(?:[^_. /-]*[_. -]){1}([^_. /-]+)[^/]*$'
    """
    rows = [re.split(_GAP, PurePosixPath(name).stem) for name in names]
    if not rows or len({len(row) for row in rows}) != 1:
        return None
    found = [
        positions
        for index, column in enumerate(zip(*rows, strict=True))
        if (positions := _positions_of(column, index)) is not None
    ]
    return min(found, key=lambda each: (not each.are_words, len(each.images)), default=None)


def _positions_of(column: Sequence[str], index: int) -> NamedPositions | None:
    images = dict(sorted(Counter(column).items()))
    are_few = 2 <= len(images) <= MOST_POSITIONS and all(images)
    if not are_few or min(images.values()) < LEAST_IMAGES:
        return None
    before = f"(?:{_VALUE}*{_GAP}){{{index}}}" if index else ""
    pattern = f"(?:^|/){before}({_VALUE}+)[^/]*$"
    return NamedPositions(pattern, images, all(_LETTER.search(value) for value in images))
