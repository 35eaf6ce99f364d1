"""Which images train, which calibrate, and which judge: decided once, at ingest.

The side is written into the manifest and never changes, so no version is ever judged by, or
calibrated on, what any version was trained on.
"""

from collections.abc import Sequence

TRAIN, CALIBRATION, JUDGE = "train", "calibration", "judge"
LIGHT_ONLY = "light"  # in place of "train" where only the light is learnt, not the picture

_TURN = (TRAIN, CALIBRATION, TRAIN, JUDGE, TRAIN)  # so that 10 images already give 6, 2 and 2


def assign_splits(hashes: Sequence[str], already: int) -> dict[str, str]:
    """Deal new images out in turn.

    Args:
        hashes: SHA-256 of the new accepted images. Their order does not matter: they are dealt
            in order of hash, which has nothing to do with time or camera position.
        already: accepted images that have their side, of this and earlier nights, where the
            turn goes on.

    Example:
        >>> assign_splits(["b7", "a1", "c9"], already=0)
        {'a1': 'train', 'b7': 'calibration', 'c9': 'train'}
    """
    return {
        sha256: _TURN[(already + place) % len(_TURN)] for place, sha256 in enumerate(sorted(hashes))
    }
