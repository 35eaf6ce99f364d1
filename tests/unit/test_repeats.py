"""What a night's manifest says of a camera that repeats one frame."""

from datetime import date

import pandas as pd
import pytest

from reconad_plugin.ledger.manifest import COLUMNS
from reconad_plugin.ledger.repeats import most_repeated, rows_to_score
from reconad_plugin.watch.statistics import Repeats


def manifest(*rows):
    """A manifest of rows ``position verdict frame``; an accepted frame is its own."""
    names = ("position", "verdict", "pixels_sha256")
    table = pd.DataFrame([dict(zip(names, row.split(), strict=True)) for row in rows])
    table["position"] = table["position"].replace("-", "")
    table = table.assign(key=[f"{at}.png" for at in table.index], night=str(date(2026, 5, 1)))
    table = table.assign(sha256=table["key"]).reindex(columns=list(COLUMNS))
    return table.fillna({name: "" if kind == "str" else 0 for name, kind in COLUMNS.items()})


def rows(position, accepted=0, **repeated):
    """So many accepted rows of a position, and repeats of frames."""
    again = [f"{position} duplicate {frame}" for frame, n in repeated.items() for _ in range(n)]
    return [f"{position} accepted own{position}{n}" for n in range(accepted)] + again


@pytest.mark.parametrize(
    ("night", "expected"),
    [
        pytest.param(rows("-", 1, a=19), Repeats("", 20, 19), id="all but one"),
        pytest.param(rows("-", 0, a=20), Repeats("", 20, 20), id="of an earlier night"),
        pytest.param(rows("-", 20), Repeats(), id="none"),
        pytest.param(rows("-", 20, a=2, b=2), Repeats(), id="some came twice"),
        pytest.param(
            rows("-", 0, **{f"f{n}": 1 for n in range(20)}), Repeats(), id="a night sent again"
        ),
        pytest.param(rows("-", 10, a=3, b=5), Repeats("", 18, 5), id="the frame that most repeat"),
        pytest.param(
            rows("left", 1, a=9) + rows("right", 10), Repeats("left", 10, 9), id="one of two"
        ),
        pytest.param(
            rows("left", 1, a=9) + rows("right", 0, a=10), Repeats("right", 10, 10), id="the worse"
        ),
        pytest.param(
            rows("left", 0, a=9) + rows("right", 0, a=9), Repeats("", 18, 18), id="at all alike"
        ),
        pytest.param(
            rows("left", 0, b=1) + rows("right", 9, a=9), Repeats("right", 18, 9), id="one is few"
        ),
        pytest.param(
            [*rows("-", 1, a=4), *["- quarantined none"] * 20], Repeats("", 5, 4), id="bad files"
        ),
    ],
)
def test_the_frame_that_is_repeated_most(night, expected):
    """As a share of what could be read, of the night or of a position."""
    assert most_repeated(manifest(*night)) == expected


def test_equal_bytes_are_equal_frames_in_an_older_manifest():
    """It has no hashes of pixels."""
    table = manifest(*rows("-", 1, a=9)).assign(pixels_sha256="", sha256="f")

    assert most_repeated(table) == Repeats("", 10, 9)
    assert most_repeated(table.iloc[:0]) == Repeats()


@pytest.mark.parametrize(
    ("night", "keys"),
    [
        pytest.param(rows("-", 2, a=19), ["0.png", "1.png"], id="accepted ones"),
        pytest.param(rows("-", 0, b=1, a=9), ["1.png"], id="a frame of yesterday"),
        pytest.param(rows("-", 0, **{f"f{n}": 1 for n in range(9)}), [], id="a night sent again"),
        pytest.param(["- quarantined none"], [], id="bad files"),
    ],
)
def test_a_night_of_one_frame_is_looked_at(night, keys):
    """Though that frame is none of its own, the night must not pass for one without images."""
    assert rows_to_score(manifest(*night))["key"].tolist() == keys
