"""Made-up tables of a night's scores and features, and records of nights, for the tests."""

from datetime import date

import numpy as np
import pandas as pd

from reconad_plugin.images.features import FEATURES

NIGHT = date(2026, 3, 5)


def score_table(images=40, seed=0, **columns):
    """What a nightly batch or a served model writes, with some columns replaced."""
    random = np.random.default_rng(seed)
    scores = random.gamma(9, 0.02, images)
    table = pd.DataFrame({name: random.normal(0.5, 0.05, images) for name in FEATURES}).assign(
        key=[f"part/{number}.png" for number in range(images)],
        model_version="3",
        pred_score=scores,
        pred_label=scores > 0.3,
        p_value=random.uniform(0.01, 1, images),
        matched_score=scores,
        is_suspect=False,
        map_extent=random.uniform(0.1, 0.2, images),
    )
    return table.assign(**columns)


def record(night=NIGHT, cause="none", **facts):
    """What the watch decided of a night."""
    checks = {
        "luminance": {"score": -2.0, "average": 1.0, "jump_limit": 4.0, "average_limit": 4.0},
        "sharpness": {"score": None, "average": None, "jump_limit": 4.0, "average_limit": 4.0},
    }
    return {
        "night": night.isoformat(),
        "model_version": "3",
        "is_alarm": cause != "none",
        "cause": cause,
        "evidence": "luminance 0.412 -> 0.331 (-8.0 sigma)",
        "checks": checks,
        **facts,
    }
