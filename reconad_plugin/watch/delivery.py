"""What the camera delivered: whether it hangs, and whether it is silent at one of its positions.

Both are told by counting. A camera that hangs repeats one frame, and its repeats are duplicates, so
that the night merely has fewer images. A position that is silent has none, and those that are
there look as ever.
"""

import math
from collections.abc import Collection, Sequence
from typing import Final

from reconad_plugin.watch.results import CameraFault
from reconad_plugin.watch.statistics import NightStatistics, Repeats

# A file that was sent twice does not make a camera that hangs; a camera's own exposures differ by
# their noise.
LEAST_REPEATED: Final = 3
HUNG_SHARE: Final = 0.2  # of the pictures: more show one frame again

LEAST_NIGHTS: Final = 5  # that a position was seen on before it is missed
KNOWN_NIGHTS: Final = 60  # the newest: a position that was taken away is forgotten after them
# Shared by the positions. Where each image is of a position by chance, 1 of 1000 products ever sees
# a false alarm; where each position has richer and poorer nights of its own, some of 1000.
SILENT_CHANCE: Final = 0.005
USUAL_GAPS: Final = 2  # times the longest gap on ordinary nights: a shorter one is no news
_SMALLEST_CHANCE: Final = 1e-300  # its logarithm is taken


def hung_camera(repeats: Repeats, usual_share: float = 0.0) -> CameraFault | None:
    """Say whether so many pictures show one frame that the camera hangs, where on ordinary nights
    up to a ``usual_share`` of them does.

    Where these repeat a frame, such as that of an empty belt, the limit lies halfway to all.
    """
    limit = HUNG_SHARE if usual_share <= HUNG_SHARE else (1 + usual_share) / 2
    if not repeats.share > limit:
        return None
    return CameraFault(repeats.position, repeats.share / limit, repeats.pictures, repeats.repeated)


def camera_faults(
    normal: Sequence[NightStatistics],
    tonight: NightStatistics,
    new_levels: Collection[str] = (),
) -> tuple[CameraFault, ...]:
    """Find where the camera hangs or is silent tonight, held against the nights that set the level,
    oldest first; ``new_levels`` are those from which on the world is as it is meant to be."""
    nights, repeats = normal[-KNOWN_NIGHTS:], tonight.repeats
    usual_share = max((night.repeats.share for night in nights), default=0.0)
    hung = hung_camera(repeats, usual_share)
    if hung is not None and not hung.position:  # what it did not take anew may be missing anywhere
        return (hung,)
    names = {name for night in nights for name in night.positions}
    missing = sorted(names - {"", repeats.position, *tonight.positions})
    faults = [hung, *(_silence(nights, tonight, name, new_levels) for name in missing)]
    return tuple(fault for fault in faults if fault is not None)


def _silence(
    nights: Sequence[NightStatistics],
    tonight: NightStatistics,
    name: str,
    new_levels: Collection[str],
) -> CameraFault | None:
    """Say whether it can be chance that no image of a position has come since it was last seen.

    The chance is that of so many images of others since then, were each of this one as seldom as
    it ever was from one time that it was seen to the next.
    """
    first = next(index for index, night in enumerate(nights) if name in night.positions)
    others = {each for night in nights[first:] for each in night.positions if each != name}
    sent, shares, longest, gap, is_meant = list[int](), list[float](), 0, 0, False
    for night in nights[first:]:
        elsewhere = _images(night, others)
        if name not in night.positions:
            gap, is_meant = gap + elsewhere, is_meant or night.night in new_levels
            continue
        sent.append(night.positions[name].images)
        shares.append(sent[-1] / (sent[-1] + gap + elsewhere))
        longest, gap, is_meant = max(longest, gap), 0, False
    gap += _images(tonight, others)
    chance, limit = (1 - min(shares)) ** gap, SILENT_CHANCE / (1 + len(others))
    is_usual = len(sent) < LEAST_NIGHTS or gap <= USUAL_GAPS * longest
    if is_meant or is_usual or not chance < limit:
        return None
    beyond = math.log(max(chance, _SMALLEST_CHANCE)) / math.log(limit)
    return CameraFault(name, beyond, fewest=min(sent), most=max(sent))


def _images(night: NightStatistics, positions: Collection[str]) -> int:
    return sum(means.images for name, means in night.positions.items() if name in positions)
