"""Which images train, which calibrate, and which judge: decided once, at ingest.

The side is written into the manifest and never changes, so no version is ever judged by, or
calibrated on, what any version was trained on.
"""

from collections.abc import Sequence

TRAIN, CALIBRATION, JUDGE = "train", "calibration", "judge"
BORROWED_LIGHT = "light"  # in place of "train" where only the light is learnt, not the picture

_TURN = (TRAIN, CALIBRATION, TRAIN, JUDGE, TRAIN)  # so that 10 images already give 6, 2 and 2


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
