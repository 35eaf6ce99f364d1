"""Real images for the benchmark of the triage: a detector trained on normal ones, and every image
scored as it came and as a changed lamp or camera would have shown it.

A source is a folder with ``manifest.csv`` (``path``, ``label``; ``normal`` is normal). The ball
screw of the demo has days and positions, the magnetic tiles have exposures.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.score_table import score_table
from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.features import describe_image
from reconad_plugin.images.geometry import stack_images
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages

IMAGE_SIZE_PX: Final = 128
FITTED_SHARE: Final = 0.5  # of the reference's images; nights are drawn from the others
CALIBRATION_SHARE: Final = 0.4  # of the fitted ones
LAMPS: Final = (0.6, 0.8, 1.3)  # times the light
BLURS_PX: Final = (1.5, 3.0)
ENCODING_EXPONENT: Final = 2.2

Pixels = NDArray[np.uint8]
Positions = tuple[tuple[str, ...], tuple[str, ...]]  # of images to train on and to calibrate on


@dataclass(frozen=True)
class Source:
    """Where images come from, and which of them are the world as it was.

    Attributes:
        name: what a table calls it.
        folder: with ``manifest.csv``.
        is_reference: whether a row of the manifest is of the world that the detector knows.
        is_used: whether a row is used at all.
        has_positions: whether the manifest tells positions of the camera.
    """

    name: str
    folder: Path
    is_reference: Callable[[pd.DataFrame], pd.Series]
    is_used: Callable[[pd.DataFrame], pd.Series]
    has_positions: bool = False


@dataclass(frozen=True)
class ScoredImages:
    """A source's images, scored.

    Attributes:
        table: one row an image and variant: the columns of ``score_table``, those of the
            manifest, ``variant``, and ``is_pool``: normal, of the reference, not fitted.
        calibration: arguments of ``summarise_night``.
    """

    table: pd.DataFrame
    calibration: dict[str, object]


def ball_screw(folder: Path) -> Source:
    """Days before September are the reference; on the 7th the crop of the camera changed."""

    def day(table: pd.DataFrame) -> pd.Series:
        return table["path"].str.split("/").str[1]

    return Source(
        "ball_screw",
        folder,
        is_reference=lambda table: day(table) < "2020-09-01",
        is_used=lambda table: day(table) < "2020-09-07",
        has_positions=True,
    )


def magnetic_tile(folder: Path) -> Source:
    """The two darkest of six exposures are the reference; unknown exposures stay out."""
    return Source(
        "magnetic_tile",
        folder,
        is_reference=lambda table: table["exposure"] <= 2,
        is_used=lambda table: table["exposure"] >= 1,
    )


def score_source(
    source: Source,
    model: str,
    steps: int,
    seed: int,
    cache: Path | None,
    contexts: bool = False,
) -> ScoredImages:
    """Fit a detector on half of the reference, and score every image and variant.

    Args:
        source: the images.
        model: of the registry.
        steps: of the training.
        seed: of training, and of which images are fitted.
        cache: folder that keeps the result; None: nothing is kept.
        contexts: whether each position of the camera has a normal map of its own.
    """
    name = f"{source.name}-{model}-{steps}-{seed}{'-contexts' * contexts}"
    kept = None if cache is None else cache / name
    if kept is not None and kept.with_suffix(".json").exists():
        calibration = json.loads(kept.with_suffix(".json").read_text(encoding="utf-8"))
        return ScoredImages(pd.read_parquet(kept.with_suffix(".parquet")), calibration)
    rows = pd.read_csv(source.folder / "manifest.csv")
    rows = rows[source.is_used(rows)].reset_index(drop=True)
    is_normal = source.is_reference(rows) & (rows["label"] == "normal")
    fitted = _fitted(rows, is_normal, seed)
    rows = rows.assign(is_pool=is_normal & ~fitted)
    pictures = [
        decode_image((source.folder / path).read_bytes(), ImageLimits()) for path in rows["path"]
    ]
    places = np.random.default_rng(seed).permutation(np.flatnonzero(fitted))
    held_out = int(len(places) * CALIBRATION_SHARE)
    learnt, calibrating = places[held_out:], places[:held_out]
    detector = fit(
        [pictures[place] for place in learnt],
        [pictures[place] for place in calibrating],
        model,
        steps,
        seed,
        tuple(tuple(rows["position"][each]) for each in (learnt, calibrating))
        if contexts
        else None,
    )
    tables = [score(detector, rows[~fitted], pictures, "plain", lambda picture: picture)]
    changed = rows[rows["is_pool"] | (rows["label"] != "normal")]
    tables += [
        score(detector, changed, pictures, name, change) for name, change in variants().items()
    ]
    scored = ScoredImages(pd.concat(tables, ignore_index=True), calibration_of(detector))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        scored.table.to_parquet(kept.with_suffix(".parquet"))
        kept.with_suffix(".json").write_text(json.dumps(scored.calibration), encoding="utf-8")
    return scored


def variants() -> dict[str, Callable[[Pixels], Pixels]]:
    """Changes of lamp and camera by name."""
    changes: dict[str, Callable[[Pixels], Pixels]] = {
        f"lamp {power:g}": lambda picture, power=power: _lamp(picture, (power,) * 3)
        for power in LAMPS
    }
    changes["warmer lamp"] = lambda picture: _lamp(picture, (1.15, 1.0, 0.8))
    changes |= {
        f"blur {width:g} px": lambda picture, width=width: np.asarray(
            Image.fromarray(picture).filter(ImageFilter.GaussianBlur(width))
        )
        for width in BLURS_PX
    }
    changes["shifted"] = _shift
    return changes


def _fitted(rows: pd.DataFrame, is_normal: pd.Series, seed: int) -> pd.Series:
    """Half of the reference; images of the same part stay together."""
    part = rows["tile_group"].astype(str) if "tile_group" in rows else rows["path"]
    parts = np.sort(part[is_normal].unique())
    chosen = np.random.default_rng(seed).permutation(parts)[: int(len(parts) * FITTED_SHARE)]
    return is_normal & part.isin(chosen)


def fit(
    train: list[Pixels],
    calibration: list[Pixels],
    model: str,
    steps: int,
    seed: int,
    positions: Positions | None = None,
) -> Detector:
    """Fit a detector on pictures of any shapes; with contexts where positions are told."""
    settings = ProductSettings(
        model=model, image_size_px=IMAGE_SIZE_PX, seed=seed, contexts=positions is not None
    )
    images = [
        torch.from_numpy(stack_images(pictures, ImageSize.square(IMAGE_SIZE_PX)))
        for pictures in (train, calibration)
    ]
    learnt_at, calibrating_at = positions or ((), ())
    split = NormalImages(
        images[0],
        images[1],
        images[0][:0],
        train_positions=learnt_at,
        calibration_positions=calibrating_at,
    )
    detector, _ = fit_detector(split, settings, TrainingSettings(steps=steps))
    return detector


def score(
    detector: Detector,
    rows: pd.DataFrame,
    pictures: list[Pixels],
    variant: str,
    change: Callable[[Pixels], Pixels],
) -> pd.DataFrame:
    """A table of scores and features of some pictures, changed.

    Args:
        detector: scores them.
        rows: of a manifest; the index says which pictures.
        pictures: all of them.
        variant: name of the change.
        change: of a picture.
    """
    changed = [change(pictures[place]) for place in rows.index]
    position = rows["position"].astype(str) if "position" in rows else ""
    described = pd.DataFrame([describe_image(picture) for picture in changed], index=rows.index)
    described = described.assign(
        **dict.fromkeys(("key", "sha256", "pixels_sha256"), rows["path"]),
        night="",
        split="",
        position=position,
    )
    table = score_table(
        detector, described, stack_images(changed, ImageSize.square(IMAGE_SIZE_PX)), "1"
    )
    for name in ("path", "label", "exposure", "is_pool"):
        if name in rows:
            table[name] = rows[name].to_numpy()
    return table.assign(variant=variant)


def calibration_of(detector: Detector) -> dict[str, object]:
    """What ``summarise_night`` needs to know of a detector."""
    as_they_come, matched = detector.calibration, detector.matched_calibration
    return {
        "calibration_scores": tuple(as_they_come.normal_scores),
        "image_threshold": as_they_come.image_threshold,
        "matched_calibration_scores": tuple(matched.normal_scores),
        "matched_threshold": matched.image_threshold,
    }


def _lamp(picture: Pixels, powers: tuple[float, float, float]) -> Pixels:
    gain = np.array(powers) ** (1 / ENCODING_EXPONENT)
    return np.asarray((picture * gain).clip(0, 255).round(), np.uint8)


def _shift(picture: Pixels) -> Pixels:
    """The camera has turned: a strip at the left and the top is gone."""
    height, width = picture.shape[:2]
    kept = picture[round(0.04 * height) :, round(0.06 * width) :]
    return np.asarray(Image.fromarray(kept).resize((width, height)))
