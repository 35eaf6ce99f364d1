"""Requests to a scoring server, and how they go wrong."""

import base64
import json
import random
from typing import Final

JSON: Final = "application/json"
KINDS: Final = (*[JSON] * 8, "text/csv", "application/vnd.apache.parquet")
COLUMNS: Final = ("image", "context", "reference", "Image", "", "x" * 300)
PARAMETERS: Final = ("anomaly_map", "overlay", "regions", "threshold", "Overlay", "", "x" * 300)
# what a column or a parameter may be given; NaN and the infinite are no JSON, and yet are sent
ODD: Final = (
    *(None, True, False, 0, -1, 0.5, 2**70, 1e308, float("nan"), float("inf"), "", "true", "0.5"),
    *("x" * 3000, "\0", "\ud800", [], [0], [[]], {}, {"image": ""}, ["true", None]),
)


def body_of(pictures: list[bytes]) -> bytes:
    """Write a request of pictures as JSON."""
    return json.dumps({"dataframe_records": [_record(each) for each in pictures]}).encode()


def malformed_request(picture: bytes, draw: random.Random) -> tuple[bytes, str]:
    """Draw a request with a damaged picture, one with odd columns and parameters, or one that is
    damaged as a whole; its body and its type."""
    which = draw.randrange(3)
    if which == 0:
        return body_of([damaged(picture, draw)]), JSON
    if which == 1:
        return _odd(picture, draw), JSON
    return damaged(body_of([picture]), draw), draw.choice(KINDS)


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Draw bytes that were cut, turned, doubled, filled with noise, or are others altogether."""
    damaged, at = bytearray(content), draw.randrange(len(content))
    act = draw.randrange(5)
    if act == 0:
        return bytes(damaged[:at])
    if act == 1:
        for _ in range(draw.randrange(1, 20)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
    elif act == 2:
        damaged[at:at] = damaged[: draw.randrange(1, 200)]
    elif act == 3:
        del damaged[at : at + draw.randrange(1, 200)]
    else:
        return draw.randbytes(draw.randrange(0, 2000))
    return bytes(damaged)


def _odd(picture: bytes, draw: random.Random) -> bytes:
    """A whole picture, with columns and parameters of any name, and anything in them."""
    record, params = _record(picture), dict[str, object]()
    for _ in range(draw.randrange(1, 4)):
        if draw.random() < 0.5:
            record[draw.choice(COLUMNS)] = draw.choice(ODD)
        else:
            params[draw.choice(PARAMETERS)] = draw.choice(ODD)
    table = {"dataframe_records": [record] * draw.choice((0, 1, 1, 2))}
    return json.dumps(table | {"params": draw.choice((params, params, params, *ODD))}).encode()


def _record(picture: bytes) -> dict[str, object]:
    return {"image": base64.b64encode(picture).decode()}
