"""Labelled pictures of a made-up part and what a made-up model says of them, for the tests."""

import base64
import io
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
from PIL import Image

from reconad_plugin.detector.answer import encode_map
from tests.factory import normal_picture, to_png

THRESHOLD = 0.5
SIDE_PX = 32


def encoded(pixels: np.ndarray) -> str:
    return base64.b64encode(to_png(pixels)).decode()


def decoded(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def picture(seed: int) -> np.ndarray:
    """(48, 64, 3) uint8 of a normal part."""
    return (normal_picture(np.random.default_rng(seed)).clip(0, 1) * 255).astype(np.uint8)


def labelled_rows() -> pd.DataFrame:
    """Twelve normal parts, six with a hole, six with a stain; each defect has its mask."""
    rows = []
    for seed, label in enumerate(["good"] * 12 + ["hole"] * 6 + ["stain"] * 6):
        pixels, mask = picture(seed), np.zeros((48, 64), np.uint8)
        if label != "good":
            left = 4 + 2 * seed
            pixels[12:24, left : left + 10] = 235 if label == "hole" else 150
            mask[17:31, left : left + 10] = 255
        rows.append({"image": encoded(pixels), "mask": encoded(mask), "label": label})
    table = pd.DataFrame(rows)
    table.loc[table["label"] == "good", "mask"] = None
    return table


def answers_for(data: pd.DataFrame, seed: int, quality: float = 0.25) -> pd.DataFrame:
    """What a made-up model says: scores and maps that are higher on defects by ``quality``."""
    source = np.random.default_rng(seed)
    rows = []
    for label, mask in zip(data["label"], data["mask"], strict=True):
        is_defect = shrunk(mask)
        anomaly_map = source.uniform(0, 0.5, (SIDE_PX, SIDE_PX)) + quality * is_defect
        score = source.normal(0.4, 0.08) + quality * (label != "good")
        rows.append(
            {
                "pred_score": score,
                "pred_label": bool(score > THRESHOLD),
                "image_threshold": THRESHOLD,
                "p_value": 0.5,
                "anomaly_map": encode_map(anomaly_map.astype(np.float32), THRESHOLD),
                "model_version": "7",
                "error": None,
            }
        )
    return pd.DataFrame(rows, index=data["image"])


def shrunk(mask: object) -> np.ndarray:
    """A mask of 64 x 48 in the map's square, any pixel counting; nothing where there is none."""
    if not isinstance(mask, str):
        return np.zeros((SIDE_PX, SIDE_PX), dtype=bool)
    narrow = (decoded(mask) > 0).reshape(48, SIDE_PX, 2).any(axis=2)
    ends = [48 * row // SIDE_PX for row in range(SIDE_PX + 1)]
    return np.stack([narrow[start:end].any(0) for start, end in pairwise(ends)])


def answering(answers: pd.DataFrame) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """A model in one function that knows its answers by the image."""
    return lambda question: answers.loc[question["image"]].reset_index(drop=True)
