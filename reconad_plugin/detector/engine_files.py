"""Engines beside the weights of a saved detector, and which of them serves.

An engine has a folder of its own below ``engines``: its graph, and what was measured with it when
it was exported. It holds data alone, as all of a saved detector. The engine of a witness lies with
the witness.
"""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NotRequired, TypedDict

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from reconad_plugin.detector.calibration import Calibration
from reconad_plugin.detector.calibration_groups import CalibrationGroups
from reconad_plugin.detector.detector import TORCH, Detector, Engine, Scores, Witness
from reconad_plugin.detector.engine import (
    ANY_PROCESSOR,
    ENGINES,
    EngineKind,
    GraphEngine,
    OpenVinoGraph,
    engine_kind,
    processor_kind,
    why_not_here,
)
from reconad_plugin.detector.memory import keep_freed_memory
from reconad_plugin.detector.self_test import SelfTest
from reconad_plugin.detector.weights_file import read_weights
from reconad_plugin.detector.windows import Pictures
from reconad_plugin.errors import ConfigError, ModelFormatError
from reconad_plugin.images.region import resize_mask

ENGINE_VARIABLE: Final = "RECONAD_ENGINE"
AUTO: Final = "auto"
ENGINES_FOLDER: Final = "engines"
GRAPH_FILE: Final = "graph.xml"  # its weights are beside it, in ``graph.bin``
ENGINE_FILE: Final = "engine.json"
PICTURES_FILE: Final = "pictures.safetensors"
WITNESS_FOLDER: Final = "witness"  # holds the same files of the second detector
FORMAT_VERSION: Final = 1
_PICTURES: Final = "pictures"
_TORCH_ENGINE: Final = "reconad_plugin.detector.torch_engine"  # whoever serves does without

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineCheck:
    """Pictures that an engine scores when it is loaded, and what it must come to."""

    pictures: Pictures  # (K, 3, S, S), normal
    scores: tuple[float, ...]  # (K,) of the engine when it was exported
    tolerance: float  # by which each score may differ

    def why_failed(self, scores: Scores) -> str | None:
        """Say what is wrong with the scores of these pictures; None where they are right."""
        difference = float(np.abs(scores.pred_score - self.scores).max())
        if difference <= self.tolerance:
            return None
        return (
            f"it scores a picture {difference:.3g} off what it did when it was exported, and "
            f"{self.tolerance:.3g} is allowed"
        )


class EngineDescription(TypedDict):
    """What an engine's JSON says of it; see ``EngineFiles``."""

    format_version: int
    engine: str
    processor: Sequence[str]
    has_normal: bool
    has_region: bool
    calibration: dict[str, object]
    matched_calibration: dict[str, object]
    light_levels: dict[str, object] | None
    first_calibration: dict[str, object] | None
    scores: Sequence[float]
    tolerance: float
    self_test_score: NotRequired[float]


@dataclass(frozen=True)
class EngineFiles:
    """All of one engine but its graph."""

    kind: EngineKind
    processor: tuple[str, ...]  # that it was exported on
    has_normal: bool  # whether its graph takes a normal map
    has_region: bool  # whether it takes where to look
    detector: Detector  # whose thresholds and self-test are those of the engine
    check: EngineCheck

    def write(self, folder: Path) -> None:
        """Write all but the graph into the engine's folder."""
        save_file({_PICTURES: np.ascontiguousarray(self.check.pictures)}, folder / PICTURES_FILE)
        detector, levels = self.detector, self.detector.light_levels
        first = None if detector.witness is None else asdict(detector.witness.first)
        description: EngineDescription = {
            "format_version": FORMAT_VERSION,
            "engine": self.kind.name,
            "processor": self.processor,
            "has_normal": self.has_normal,
            "has_region": self.has_region,
            "calibration": asdict(detector.calibration),
            "matched_calibration": asdict(detector.matched_calibration),
            "light_levels": None if levels is None else asdict(levels),
            "first_calibration": first,
            "scores": self.check.scores,
            "tolerance": self.check.tolerance,
        }
        if detector.self_test is not None:
            description["self_test_score"] = detector.self_test.pred_score
        (folder / ENGINE_FILE).write_text(json.dumps(description, indent=2), encoding="utf-8")


def with_engine(detector: Detector, folder: Path, choice: str | None = None) -> Detector:
    """Return a detector with an engine that lies in its folder, and that engine's thresholds.

    Where there is none that this machine can run and that passes its check, PyTorch serves, and one
    line says why.

    Args:
        detector: with the thresholds that hold for PyTorch, and no engine yet.
        folder: where it was saved.
        choice: ``torch`` for PyTorch; the name of one; ``auto`` for the quickest that passes; None
            for what ``RECONAD_ENGINE`` says, and ``auto`` where it says nothing.

    Raises:
        ConfigError: there is no engine of this name.
        ModelFormatError: no engine serves, and PyTorch is not installed; or the weights are of
            another network.
    """
    keep_freed_memory()
    choice = choice or os.environ.get(ENGINE_VARIABLE) or AUTO
    if choice not in (choices := (AUTO, TORCH, *ENGINES)):
        raise ConfigError(f"{ENGINE_VARIABLE} must be one of {', '.join(choices)}; got {choice!r}")
    if choice == TORCH:
        return open_in_pytorch(detector, folder)
    asked = list(ENGINES.values()) if choice == AUTO else [engine_kind(choice)]
    for kind in asked:
        if choice == AUTO and not (folder / ENGINES_FOLDER / kind.name).is_dir():
            continue
        try:
            engined = open_engine(detector, folder, kind)
        except ModelFormatError as error:
            _logger.warning("the engine %s does not serve: %s", kind.name, error)
            continue
        _logger.info("the engine %s serves", kind.name)
        return engined
    return open_in_pytorch(detector, folder)


def needs_torch(folder: Path) -> bool:
    """Say whether serving a saved detector needs PyTorch: no engine of any processor lies in its
    folder."""
    return not (folder / ENGINES_FOLDER / ANY_PROCESSOR).is_dir()


def open_in_pytorch(detector: Detector, folder: Path) -> Detector:
    """Return a detector that PyTorch scores with the weights of its folder.

    Raises:
        ModelFormatError: PyTorch is not installed, or the weights are of another network.
    """
    if find_spec("torch") is None:
        raise ModelFormatError(
            "PyTorch is not installed, and no engine of the model serves here: pip install "
            f"'reconad[torch]', or export one with reconad export --engine {ANY_PROCESSOR}"
        )
    pytorch = import_module(_TORCH_ENGINE)
    try:
        engine = pytorch.open_network(detector, read_weights(folder))
    except (OSError, TypeError, RuntimeError, ValueError, SafetensorError) as error:
        raise ModelFormatError(f"{folder} does not fit together: {error}") from None
    if (witness := detector.witness) is not None:
        second = open_in_pytorch(witness.detector, folder / WITNESS_FOLDER)
        witness = Witness(second, witness.first)
    return replace(detector, engine=engine, witness=witness)


def open_engine(detector: Detector, folder: Path, kind: EngineKind) -> Detector:
    """Return a detector with one graph of its folder, and that graph's thresholds and self-test.

    Raises:
        ModelFormatError: there is none, it cannot be read, this machine cannot run it, or it does
            not pass its check.
    """
    own = folder / ENGINES_FOLDER / kind.name
    if not own.is_dir():
        raise ModelFormatError("the model has none of this name: see `reconad export`")
    if why := why_not_here(kind):
        raise ModelFormatError(why)
    try:
        description: EngineDescription = json.loads((own / ENGINE_FILE).read_text(encoding="utf-8"))
        if description["format_version"] != FORMAT_VERSION:
            raise ModelFormatError("a newer reconad wrote it: load it with that one")
        processor, here = tuple(description["processor"]), processor_kind()
        if kind.is_of_one_processor and processor != here:
            raise ModelFormatError(
                f"it was exported on another kind of processor ({' '.join(processor)}; this is "
                f"{' '.join(here)}): export it on one like this"
            )
        engined = _engined(detector, description, own, kind)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        if isinstance(error, ModelFormatError):
            raise
        raise ModelFormatError(f"{own} cannot be read: {' '.join(str(error).split())}") from None
    if detector.witness is not None and engined.witness is not None:
        second = open_engine(detector.witness.detector, folder / WITNESS_FOLDER, kind)
        engined = replace(engined, witness=Witness(second, engined.witness.first))
    engined.check_itself()
    return engined


def _engined(
    detector: Detector, description: EngineDescription, folder: Path, kind: EngineKind
) -> Detector:
    """Open the engine of a detector's first network, and check it."""
    engine = read_graph(folder, kind, description["has_normal"], description["has_region"])
    pictures = load_file(folder / PICTURES_FILE)[_PICTURES]
    test = EngineCheck(pictures, tuple(description["scores"]), description["tolerance"])
    if failed := test.why_failed(score_plainly(engine, detector, pictures)):
        raise ModelFormatError(failed)
    levels, first = description["light_levels"], description["first_calibration"]
    witness = detector.witness
    if witness is not None:
        witness = Witness(witness.detector, Calibration.read(first or {}))
    shown, score = detector.self_test, description.get("self_test_score")
    return replace(
        detector,
        engine=engine,
        self_test=None if shown is None or score is None else SelfTest(shown.image, score),
        calibration=Calibration.read(description["calibration"]),
        matched_calibration=Calibration.read(description["matched_calibration"]),
        light_levels=None if levels is None else CalibrationGroups.read(levels),
        witness=witness,
    )


def read_graph(folder: Path, kind: EngineKind, has_normal: bool, has_region: bool) -> GraphEngine:
    """Read the graph in an engine's folder.

    Raises:
        OSError: it is not there.
        RuntimeError: OpenVINO cannot read or run it.
    """
    file = folder / GRAPH_FILE
    size_bytes = file.with_suffix(".bin").stat().st_size
    return GraphEngine(OpenVinoGraph(file, kind), has_normal, has_region, size_bytes)


def score_plainly(engine: Engine, detector: Detector, pictures: Pictures) -> Scores:
    """Score (K, 3, S, S) pictures of the network's size by an engine, held against the normal
    map of all contexts, everywhere in the region."""
    region, size = detector.region, detector.network_size_px
    inside = None if region is None else resize_mask(region.union, size)
    return engine.score(pictures, None, detector.normal_map, inside)
