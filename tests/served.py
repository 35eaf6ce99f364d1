"""Made-up rows of the prediction log, for the tests."""

from datetime import UTC, datetime, timedelta

import numpy as np

from reconad_plugin.images.features import FEATURES
from reconad_plugin.ledger.served import ServedRow

NOON = datetime(2026, 5, 3, 12, tzinfo=UTC)


def served_row(number, **changes):
    """A normal picture that version 3 was asked for, so many minutes after noon."""
    row = {
        "time": NOON + timedelta(minutes=number),
        "reference": f"part {number}",
        "context": None,
        "model_version": "3",
        "engine": "torch",
        "pred_score": 0.1 + number / 100,
        "pred_label": False,
        "p_value": 0.5,
        "image_threshold": 0.3,
        "latency_ms": 20.0,
        "sha256": f"bytes of {number}",
        "pixels_sha256": f"pixels of {number}",
        "features": dict.fromkeys(FEATURES, 0.5),
        "map_extent": 0.5,
        "map_cells": np.full(256, number, np.float32),
        "error": None,
        "shadow_version": None,
        "shadow_score": None,
        "shadow_label": None,
        "picture": None,
    }
    return ServedRow(**row | changes)
