"""Which pictures a person means, by a key, a hash or what a client called them."""

import re
from typing import Final

import pandas as pd

HASHES: Final = ("sha256", "pixels_sha256")
_HASH: Final = re.compile("[0-9a-f]{8,64}")  # of one, its first characters at least


def find_hashes(asked: str, images: pd.DataFrame, served: pd.DataFrame) -> frozenset[str]:
    """Return the hashes, of bytes and of pixels, of the pictures that are meant; none where nothing
    is known of them.

    Args:
        asked: a key in the bucket; the first eight characters or more of a hash, of bytes or of
            pixels; or the reference that a client gave a picture.
        images: ``key`` and ``HASHES`` of objects of the bucket.
        served: ``reference`` and ``HASHES`` of the prediction log.
    """
    meant = [images[images["key"] == asked], served[served["reference"] == asked]]
    if _HASH.fullmatch(asked.lower()):
        meant += [
            table[table[column].str.startswith(asked.lower())]
            for table in (images, served)
            for column in HASHES
        ]
    return frozenset(name for table in meant for column in HASHES for name in table[column] if name)


def rows_of(hashes: frozenset[str], table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table of pictures that have one of these hashes."""
    return table[table[list(HASHES)].isin(hashes).any(axis=1)]
