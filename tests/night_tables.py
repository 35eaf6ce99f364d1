"""Made-up tables of a night's scores and features, and records of nights, for the tests."""

from datetime import date

import numpy as np
import pandas as pd

from reconad_plugin.images.features import FEATURES
from reconad_plugin.ledger.golden_figures import GoldenFigures
from reconad_plugin.ledger.night_record import NightRecord
from reconad_plugin.watch.cause import HOLDING_CAUSES, LEARNING_CAUSES
from reconad_plugin.watch.results import StatisticCheck
from reconad_plugin.watch.statistics import summarise_night

NIGHT = date(2026, 3, 5)
GOLDEN = GoldenFigures("d1", 12, 80, 0.9, 0.93, 0.5, 0.3, floor=0.95)  # below its floor


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


def check(statistic, score, average):
    """What the tests say of a statistic; both limits are 4."""
    return StatisticCheck(statistic, 0.331, 0.412, score, score, average, 4.0, 4.0)


def record(night=NIGHT, cause="none", **facts):
    """What the watch decided of a night."""
    table = score_table()
    scores = tuple(table["pred_score"])
    decided = {
        "night": night.isoformat(),
        "model_version": "3",
        "is_alarm": cause != "none",
        "is_raised": cause != "none",
        "is_new": cause != "none",
        "since": None,
        "cause": cause,
        "also": (),
        "explanation": "The pictures are darker. Look at the lamp.",
        "is_learning": cause in LEARNING_CAUSES,
        "is_holding": cause in HOLDING_CAUSES,
        "statistics": summarise_night(night.isoformat(), table, scores, 0.3, scores, 0.3),
        "checks": {
            "luminance": check("luminance", -2.0, 1.0),
            "sharpness": check("sharpness", None, None),
        },
    }
    return NightRecord(**decided | facts)
