"""A trained network to maps, scores and labels.

Pictures are uint8 arrays, so that PyTorch is needed where it is the engine alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.detector.calibration import Calibration
from reconad_plugin.detector.calibration_groups import CalibrationGroups, luminances
from reconad_plugin.detector.contexts import ContextMaps
from reconad_plugin.detector.fusion import fuse_maps, fuse_scores
from reconad_plugin.detector.normal_map import NormalMap
from reconad_plugin.detector.self_test import MOST_PIXELS, SelfTest
from reconad_plugin.detector.windows import (
    Pictures,
    Windows,
    enlarge_maps,
    map_size,
    match_picture,
    score_windows,
)
from reconad_plugin.images.geometry import resize
from reconad_plugin.images.lens import Lens
from reconad_plugin.images.light_reference import LightReference
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.region import Mask, Region, resize_mask
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.registry import Option, model_spec

BATCH_SIZE: Final = 4  # of more, what lies between two layers leaves the processor's cache
_LEAST_THRESHOLD: Final = 1e-12  # of a calibration whose scores are next to nothing
TORCH: Final = "torch"  # name of the engine that scores with the network itself


@dataclass(frozen=True)
class Scores:
    """Maps and scores of N images."""

    pred_score: NDArray[np.float64]  # (N,) higher is more anomalous
    # (N, S, S) float32, higher is more anomalous; smoothed over the score window where the network
    # says so
    anomaly_map: NDArray[np.float32]
    # (N,) the context whose normal map each was held against, '' for the one of all; empty for a
    # detector without contexts
    contexts: tuple[str, ...] = ()

    @property
    def map_maxima(self) -> NDArray[np.float64]:
        """(N,) the highest point of each map."""
        return np.asarray(self.anomaly_map.max((1, 2)), np.float64)  # (N, S, S) -> (N,)


@dataclass(frozen=True)
class Decisions:
    """What is decided on N images."""

    image_threshold: NDArray[np.float64]  # (N,) the threshold that each image was held against
    pred_label: NDArray[np.bool_]  # (N,) bool, whether its score is above it
    # (N,) share of held-out normal images, those of its level of light where there are levels, that
    # score at least this
    p_value: NDArray[np.float64]
    # (N,) of each image's map; None for a detector that was saved without
    pixel_threshold: NDArray[np.float64] | None


def normal_of(normal: NormalMap | Sequence[NormalMap] | None, own: slice) -> NormalMap | None:
    """Return what leaves the maps of a batch of the images: one for all, or one of each."""
    if normal is None or isinstance(normal, NormalMap):
        return normal
    return NormalMap.stack(normal[own])


def mask_of(inside: Mask | None, own: slice) -> Mask | None:
    """Return where to look in a batch of the images."""
    return inside if inside is None or inside.ndim == 2 else inside[own]


class Engine(Protocol):
    """What runs the network of a version, with all that turns its maps into a score."""

    @property
    def name(self) -> str:
        """As it is asked for."""

    @property
    def size_bytes(self) -> int:
        """Of its weights."""

    def score(
        self,
        images: Pictures,
        light: LightReference | None = None,
        normal: NormalMap | Sequence[NormalMap] | None = None,
        inside: Mask | None = None,
    ) -> Scores:
        """Score (N, 3, S, S) images in batches.

        Args:
            images: of the network's size.
            light: bring each image to this light first.
            normal: what leaves the map before it scores, of all or of each of the N images, of a
                network whose score is its highest point.
            inside: (S, S), or (N, S, S) of each image, where to look; the map is 0 elsewhere.
        """


@runtime_checkable
class NetworkEngine(Engine, Protocol):
    """An engine that scores with the network itself, as it is saved; a graph has no weights to
    save, and thresholds of its own."""

    def weights(self) -> dict[str, NDArray[np.generic]]:
        """Return all that the network has learnt, by name."""


@dataclass(frozen=True)
class Detector:
    """A trained network, run by an engine, with all that turns its scores into a decision."""

    model: str  # name in the registry of models
    architecture: dict[str, Option]  # arguments the network was built with, besides the image size
    image_size_px: ImageSize  # height and width of its pictures, and of what the network takes
    engine: Engine  # what scores
    light: LightReference  # the light it was trained under
    calibration: Calibration  # thresholds on images as they come
    matched_calibration: Calibration  # thresholds on images brought to the reference light
    limits: ImageLimits  # allowed sizes of pictures, as at ingest
    # thresholds by light on images as they come; None: ``calibration`` alone
    light_levels: CalibrationGroups | None = None
    # what each pixel of the map shows on normal images; None: the map scores as it is
    normal_map: NormalMap | None = None
    # height and width of what the network takes, where its pictures are larger: a witness sees them
    shrunk_to: ImageSize | None = None
    # how a picture is seen in windows too; None: as a whole alone. ``image_size_px`` is then that
    # of the pictures
    windows: Windows | None = None
    region: Region | None = None  # where to look; None: everywhere
    # what scores beside the network; the thresholds are those of both together
    witness: "Witness | None" = None
    # what each pixel shows at each camera position, or on each variant of the product; None:
    # ``normal_map`` alone
    contexts: ContextMaps | None = None
    self_test: SelfTest | None = None  # None for a version of before, and for large pictures
    # that a person set, and ``calibration`` has; None: it is as it was calibrated
    set_threshold: float | None = None
    threshold_ratio: float = 1.0  # of that one to what was calibrated
    # taken out of each picture before it is seen, and put back into its map; None: nothing is.
    # ``region`` is of pictures as they come
    lens: Lens | None = None

    @property
    def known_contexts(self) -> ContextMaps | None:
        """The contexts that it tells apart, or that its witness does; None where it does not."""
        if self.contexts is not None or self.witness is None:
            return self.contexts
        return self.witness.detector.contexts

    @property
    def size_bytes(self) -> int:
        """Of what the engine loads, and that of the witness where there is one."""
        other = 0 if self.witness is None else self.witness.detector.size_bytes
        return self.engine.size_bytes + other

    @property
    def matched_threshold(self) -> float:
        """The threshold of scores with the light matched."""
        return self.matched_calibration.image_threshold * self.threshold_ratio

    @property
    def network_size_px(self) -> ImageSize:
        """Height and width of what the network takes."""
        return self.windows.size if self.windows else self.shrunk_to or self.image_size_px

    @property
    def map_size_px(self) -> ImageSize:
        """Height and width of the maps."""
        return map_size(self.image_size_px) if self.windows else self.image_size_px

    @property
    def window_px(self) -> int:
        """Side of the smoothing window in pixels."""
        return model_spec(self.model).score_window_px(self.network_size_px)

    def taking(self, max_pixels: int | None) -> "Detector":
        """Return the same detector for pictures of up to so many pixels; None leaves its limit."""
        if max_pixels is None:
            return self
        return replace(self, limits=replace(self.limits, max_pixels=max_pixels))

    def held_against(self, image_threshold: float) -> "Detector":
        """Return the same detector with another threshold of the score, whatever the light; that
        of scores with the light matched moves by the same ratio."""
        ratio = image_threshold / max(self.calibration.image_threshold, _LEAST_THRESHOLD)
        levels = self.light_levels
        if levels is not None:
            others = [
                replace(each, image_threshold=image_threshold) for each in levels.calibrations
            ]
            levels = replace(levels, calibrations=tuple(others))
        return replace(
            self,
            calibration=replace(self.calibration, image_threshold=image_threshold),
            light_levels=levels,
            set_threshold=image_threshold,
            threshold_ratio=self.threshold_ratio * ratio,
        )

    def with_self_test(self, image: Pictures) -> "Detector":
        """Return the same detector with a self-test: a (3, S, S) normal image."""
        if self.image_size_px.pixels > MOST_PIXELS:
            return self
        score = float(self.score(image[None]).pred_score[0])
        return replace(self, self_test=SelfTest(image, score))

    def check_itself(self) -> None:
        """Score the self-test image, where there is one.

        Raises:
            ModelFormatError: its score is not that of the training, or of the engine's export.
        """
        if (test := self.self_test) is not None:
            score = self.score(test.image[None]).pred_score[0]
            test.check(float(score), self.calibration.image_threshold)

    def score(self, images: Pictures, positions: Sequence[str | None] | None = None) -> Scores:
        """Score (N, 3, S, S) images as they come.

        Where they are looked at follows their camera positions, and is all that counts at any
        position where one is None. So does the normal map that they are held against; a position
        that is not told is recognised.
        """
        return self._score(images, positions, None)

    def score_matched(
        self, images: Pictures, positions: Sequence[str | None] | None = None
    ) -> Scores:
        """Score (N, 3, S, S) images after bringing them to the reference light."""
        return self._score(images, positions, self.light)

    def as_seen(self, images: Pictures) -> Pictures:
        """Return (N, 3, S, S) images as they come without the distortion of the lens, if there is
        one."""
        return images if self.lens is None else self.lens.straighten(images)

    def _score(
        self, images: Pictures, positions: Sequence[str | None] | None, light: LightReference | None
    ) -> Scores:
        scores = self._score_seen(self.as_seen(images), positions, light)
        if self.lens is None:
            return scores
        maps = self.lens.bend(scores.anomaly_map)
        inside = self._looked_at(positions)
        return replace(scores, anomaly_map=maps if inside is None else maps * inside)

    def _score_seen(
        self, images: Pictures, positions: Sequence[str | None] | None, light: LightReference | None
    ) -> Scores:
        scores = self._score_alone(images, positions, light)
        if self.witness is None:
            return scores
        return self.witness.join(scores, self.witness.detector._score(images, positions, light))

    def _score_alone(
        self, images: Pictures, positions: Sequence[str | None] | None, light: LightReference | None
    ) -> Scores:
        if self.windows is not None:
            return self._score_in_windows(images, self.windows, light)
        normal: NormalMap | list[NormalMap] | None = self.normal_map
        contexts: tuple[str, ...] = ()
        if self.contexts is not None and self.normal_map is not None:
            contexts = self.contexts.of(images, positions)
            normal = [self.contexts.maps.get(each, self.normal_map) for each in contexts]
        inside = self._inside(positions)
        if (size := self.shrunk_to) is None:
            scores = self.engine.score(images, light, normal, inside)
        else:
            small = None if inside is None else resize_mask(inside, size)
            scores = self.engine.score(resize(images, size), light, normal, small)
            maps = enlarge_maps(scores.anomaly_map, self.map_size_px)
            scores = replace(scores, anomaly_map=maps if inside is None else maps * inside)
        return replace(scores, contexts=contexts)

    def _inside(self, positions: Sequence[str | None] | None) -> Mask | None:
        """Return where to look in pictures as they are seen."""
        inside = self._looked_at(positions)
        if inside is None or self.lens is None:
            return inside
        return self.lens.straighten_mask(inside)

    def _looked_at(self, positions: Sequence[str | None] | None) -> Mask | None:
        if self.region is None:
            return None
        return self.region.union if positions is None else self.region.of(positions)

    def _score_in_windows(
        self, images: Pictures, windows: Windows, light: LightReference | None
    ) -> Scores:
        """Score each image as a whole and in windows, one image after the other."""
        scores = np.empty(len(images))
        maps = np.empty((len(images), *self.map_size_px.shape), np.float32)
        for index, image in enumerate(images):
            small = resize(image[None], windows.size)
            whole = self.engine.score(small, light, self.normal_map)
            lit = image if light is None else match_picture(light, image, small[0])
            of_windows = score_windows(lit, windows.size, self.map_size_px, self.engine.score)
            scores[index] = windows.join(whole.pred_score, np.array(of_windows[0]))[0]
            enlarged = enlarge_maps(whole.anomaly_map, self.map_size_px)[0]
            maps[index] = windows.join(enlarged, of_windows[1])
        return Scores(scores, maps)

    def decide(self, images: Pictures, scores: Scores) -> Decisions:
        """Hold (N, 3, S, S) images, with what ``score`` gives for them, against the
        threshold, that of their light if there is one."""
        levels = np.zeros(len(images), dtype=np.intp)
        calibrations: tuple[Calibration, ...] = (self.calibration,)
        if self.light_levels is not None:
            levels = self.light_levels.levels(luminances(self.as_seen(images)))
            calibrations = self.light_levels.calibrations
        thresholds = np.array([each.image_threshold for each in calibrations])[levels]
        pixel = np.array([each.pixel_threshold for each in calibrations], dtype=np.float64)[levels]
        p_values = np.stack([each.p_values(scores.pred_score) for each in calibrations])
        return Decisions(
            image_threshold=thresholds,
            pred_label=scores.pred_score > thresholds,
            p_value=p_values[levels, np.arange(len(images))],
            pixel_threshold=None if self.calibration.pixel_threshold is None else pixel,
        )


@dataclass(frozen=True)
class Witness:
    """A second detector, which scores the same images beside a first one."""

    detector: Detector  # complete in itself, of the same image size
    first: Calibration  # of the first one's network alone, on images as they come

    def join(self, first: Scores, second: Scores) -> Scores:
        """Join what both networks show of the same images into one map and score each."""
        normal = (self.first, self.detector.calibration)
        return Scores(
            fuse_scores(normal, (first.pred_score, second.pred_score)),
            fuse_maps(normal, (first.anomaly_map, second.anomaly_map)),
            first.contexts or second.contexts,
        )
