"""Past nights scored anew by another version: nothing is written in the bucket."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import cache, partial
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from flows.jobs.product import Product, open_product
from mlflow_models import flavor, registry
from mlflow_models.tracking import trained_on
from mlflow_models.version_names import named_version, version_to_load
from reconad_plugin.detector.answer import scale_map
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.prediction import CHUNK_PIXELS
from reconad_plugin.errors import (
    ConfigError,
    InvalidImageError,
    StorageError,
    StorageUnreachableError,
)
from reconad_plugin.images.geometry import decode_to_size, stack_images
from reconad_plugin.images.lens import limits_with
from reconad_plugin.ledger.manifest import accepted_rows
from reconad_plugin.ledger.read_back import unless_damaged
from reconad_plugin.ledger.rescored import RescoredNight, compare, summarise
from reconad_plugin.plots.evaluation import Example, plot_examples
from reconad_plugin.store.pixels import DECODERS

CHUNK_IMAGES: Final = 64  # that are in memory at one time, fewer of large ones
SHOWN_IMAGES: Final = 8  # the highest scores of a night, on its sheet
_TITLE: Final = 18  # last characters of a name that a sheet has room for


@dataclass(frozen=True)
class _Shown:
    """An image of a sheet."""

    score: float
    threshold: float
    name: str
    picture: NDArray[np.uint8]  # (H, W, 3)
    anomaly_map: NDArray[np.float32]  # (S, S)


@dataclass(frozen=True)
class NightPictures:
    """A night that was scored anew."""

    night: date
    version: str  # number of the one that scored it
    table: pd.DataFrame  # one row an accepted image; see ``rescored.compare``
    counts: RescoredNight
    _worst: Sequence[_Shown] = field(repr=False)

    def plot_worst(self) -> Figure | None:
        """Draw the sheet of its highest scores with their maps; None where nothing was scored."""
        if not self._worst:
            return None
        examples = [
            Example(
                each.picture,
                scale_map(each.anomaly_map, each.threshold),
                each.name[-_TITLE:],
                f"{each.score:.3g}, threshold {each.threshold:.3g}",
            )
            for each in self._worst
        ]
        return plot_examples(
            examples, f"night {self.night}: highest scores of version {self.version}"
        )


@dataclass(frozen=True)
class Rescoring:
    """A version, and the nights that it is to score."""

    product: Product
    version: registry.Version
    detector: Detector  # it, loaded
    learnt: frozenset[str]  # SHA-256 of the images that it was fitted to
    nights: Sequence[date]  # that were taken in, in order
    never_run: Sequence[date]  # of the range, with images that were never taken in
    threshold_of: Callable[[str], float | None]  # of a version of then; None where it is not known

    def run(self, night: date) -> NightPictures | None:
        """Score a night; None, with a warning in the log, where its manifest is damaged.

        Raises:
            StorageError: the bucket does not answer.
        """
        manifest = unless_damaged(partial(self.product.manifest, night))
        if manifest is None:
            return None
        rows = accepted_rows([manifest])
        chunks, worst = list[pd.DataFrame](), list[_Shown]()
        at_once = min(CHUNK_IMAGES, max(1, CHUNK_PIXELS // self.detector.image_size_px.pixels))
        for start in range(0, max(1, len(rows)), at_once):
            table, shown = self._score(rows[start : start + at_once])
            worst = sorted([*worst, *shown], key=lambda each: -each.score)[:SHOWN_IMAGES]
            chunks.append(table)
        now = pd.concat(chunks, ignore_index=True)
        then = unless_damaged(partial(self.product.records.scores, night))
        record = unless_damaged(partial(self.product.records.record, night))
        was_set = None if record is None else record.statistics.set_threshold
        compared = compare(now, then, self.threshold_of if was_set is None else lambda _: was_set)
        part_of = self.product.part_of
        parts = [] if part_of is None else [part_of(key) for key in compared["key"]]
        calibration = self.detector.calibration
        counts = summarise(night.isoformat(), compared, manifest, calibration, parts)
        return NightPictures(night, self.version.number, compared, counts, worst)

    def _score(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, list[_Shown]]:
        """Score some rows of a manifest; return a row of each, and what a sheet may show."""
        table = rows[["night", "key", "position", "sha256"]].reset_index(drop=True)
        with ThreadPoolExecutor(DECODERS) as threads:
            loaded = list(threads.map(self._load, table["sha256"], table["key"]))
        at = [index for index, each in enumerate(loaded) if not isinstance(each, str)]
        pictures = [each for each in loaded if not isinstance(each, str)]
        images = stack_images(pictures, self.detector.image_size_px)
        scores = self.detector.score(images, table["position"].iloc[at].tolist())
        decided = self.detector.decide(images, scores)
        said = pd.DataFrame(
            {
                "score_now": scores.pred_score,
                "threshold_now": decided.image_threshold,
                "label_now": decided.pred_label,
                "p_value": decided.p_value,
            },
            index=at,
        )
        errors = pd.Series([each if isinstance(each, str) else None for each in loaded], dtype=str)
        table = table.join(said.astype({"label_now": object})).assign(
            error=errors, is_learnt=table["sha256"].isin(self.learnt)
        )
        highest = np.argsort(-scores.pred_score)[:SHOWN_IMAGES].tolist()
        shown = [
            _Shown(
                float(scores.pred_score[each]),
                float(decided.image_threshold[each]),
                str(table["key"].iloc[at[each]]),
                pictures[each],
                scores.anomaly_map[each].copy(),
            )
            for each in highest
        ]
        return table, shown

    def _load(self, sha256: str, key: str) -> NDArray[np.uint8] | str:
        """Load an image at the version's size; return why it cannot be where it alone cannot."""
        try:
            content = self.product.read_image(sha256, key)
            limits = limits_with(self.detector.lens, self.product.limits)
            return decode_to_size(content, self.detector.image_size_px, limits)
        except StorageUnreachableError:
            raise
        except (StorageError, InvalidImageError) as error:
            return str(error)


def open_rescoring(product: str, version: str, first: date, last: date) -> Rescoring:
    """Open a product's version, and find the nights from ``first`` to ``last``.

    Raises:
        ConfigError: unknown product or version, or no night that was taken in.
        NoChampionError: no version has this alias.
    """
    opened = open_product(product)
    chosen = named_version(product, version)
    nights = [night for night in opened.known_nights() if first <= night <= last]
    if not nights:
        raise ConfigError(
            f"nights that are scored anew must have been taken in; {product} has none from {first} "
            f"to {last}: run `reconad nightly` first"
        )
    never_run = [each for each in opened.nights_never_run(before=date.max) if first <= each <= last]
    detector = flavor.load_model(chosen.uri)

    @cache
    def threshold_of(number: str) -> float | None:
        try:
            loaded = version_to_load(product, number)
            return _only_threshold(flavor.load_calibrated(loaded.uri))
        except ConfigError:  # somebody deleted it
            return None

    return Rescoring(opened, chosen, detector, trained_on(chosen), nights, never_run, threshold_of)


def _only_threshold(detector: Detector) -> float | None:
    return None if detector.light_levels else detector.calibration.image_threshold
