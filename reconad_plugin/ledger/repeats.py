"""What a night's manifest says of a camera that repeats one frame."""

import pandas as pd

from reconad_plugin.ledger.manifest import DUPLICATE, QUARANTINED, accepted_rows
from reconad_plugin.watch.delivery import LEAST_REPEATED, hung_camera
from reconad_plugin.watch.statistics import Repeats


def rows_to_score(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return a night's accepted rows. Where it has none because the camera hangs at a frame of an
    earlier night, that frame is looked at once more, so that the night is watched."""
    rows = accepted_rows([manifest])
    if len(rows) or hung_camera(most_repeated(manifest)) is None:
        return rows
    again, frames = manifest[manifest["verdict"] == DUPLICATE], _repeated_frames(manifest)
    return again[frames.isin(frames.mode()[:1])].head(1)


def most_repeated(manifest: pd.DataFrame) -> Repeats:
    """Find the frame that most pictures of a night, or of one position of the camera, repeat."""
    readable = manifest[manifest["verdict"] != QUARANTINED]
    groups = [("", readable), *readable[readable["position"] != ""].groupby("position")]
    found = [
        Repeats(str(position), len(rows), int(_repeated_frames(rows).value_counts().max()))
        for position, rows in groups
        if (rows["verdict"] == DUPLICATE).any()
    ]
    often = [each for each in found if each.repeated >= LEAST_REPEATED]
    return max(often, key=lambda each: each.share, default=Repeats())


def _repeated_frames(rows: pd.DataFrame) -> pd.Series:
    """Name the frame that each duplicate shows, by a hash."""
    again = rows[rows["verdict"] == DUPLICATE]
    return again["pixels_sha256"].where(again["pixels_sha256"] != "", again["sha256"])
