"""A detector to an engine: its network as a graph, thresholds anew, and whether it may serve."""

import logging
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from reconad_plugin.detector.batch import ScoringGraph
from reconad_plugin.detector.detector import Detector, Witness
from reconad_plugin.detector.engine import (
    EngineKind,
    has_wide_sums,
    processor_kind,
    why_not_here,
)
from reconad_plugin.detector.engine_files import (
    ENGINES_FOLDER,
    GRAPH_FILE,
    WITNESS_FOLDER,
    EngineCheck,
    EngineFiles,
    open_engine,
    read_graph,
    score_plainly,
)
from reconad_plugin.detector.recalibration import recalibrated
from reconad_plugin.detector.torch_engine import network_of
from reconad_plugin.detector.windows import Pictures
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.geometry import resize
from reconad_plugin.metrics.image import image_auroc
from reconad_plugin.simulation.anomalies import simulate_anomalies
from reconad_plugin.simulation.presets import STAINS

INT8: Final = "openvino-int8"
MOST_LEARNT: Final = 300  # normal images
NARROWED_ON: Final = 200  # of those, which tell the ranges of int8
SIMULATED_IN: Final = 100  # of those, a second time with a simulated anomaly
TEST_PICTURES: Final = 3
TOLERANCE: Final = 0.01  # of a test picture's score, in deviations of normal images' scores
MOST_AUROC_MOVE: Final = 0.003
SMALL_P_VALUE: Final = 0.2  # larger ones question nothing; there normal scores lie close together
# a small p-value may move by so many times what the number of held-out images leaves it unsure by
MOST_P_VALUE_MOVE: Final = 2.0
TIMED_IMAGES: Final = 10
_NARROWED: Final = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")


@dataclass(frozen=True)
class ExportImages:
    """What an export needs, each (N, 3, H, W) of the pictures' size."""

    # normal images that the version learnt from; of more than ``MOST_LEARNT`` so many
    learnt: Pictures
    held_out: Pictures  # normal images that no training of it sees, which its thresholds rest on
    normal: Pictures  # further normal images to compare on; may be none
    anomalous: Pictures  # images with a defect to compare on


@dataclass(frozen=True)
class EngineFigures:
    """An engine beside PyTorch on the same images."""

    engine: str
    normal: int  # images
    anomalous: int  # images
    auroc: float  # with PyTorch
    engine_auroc: float
    # largest difference between the p-values of a normal image, one of them small
    p_value_move: float
    most_p_value_move: float  # that is allowed
    labels_changed: int  # of all images
    cpu_seconds: float  # of the processor, a picture alone, with PyTorch
    engine_cpu_seconds: float

    @property
    def refusal(self) -> str | None:
        """Say why the engine may not serve; None where it may."""
        if not abs(self.engine_auroc - self.auroc) <= MOST_AUROC_MOVE:
            return (
                f"image_AUROC moves from {self.auroc:.4f} to {self.engine_auroc:.4f}, and at most "
                f"{MOST_AUROC_MOVE} is allowed"
            )
        if not self.p_value_move <= self.most_p_value_move:
            return (
                f"a small p-value of a normal image moves by {self.p_value_move:.3f}, and at most "
                f"{self.most_p_value_move:.3f} is allowed"
            )
        return None


def export_engine(
    detector: Detector, kind: EngineKind, images: ExportImages, folder: Path
) -> Detector:
    """Write an engine of a detector into the folder where the detector is saved, or will be.

    Returns:
        The detector as it is loaded with that engine.

    Raises:
        ConfigError: this machine cannot run the engine, or not make it.
        NotEnoughImagesError: held-out images are missing.
    """
    if why := why_not_here(kind):
        raise ConfigError(f"the engine {kind.name} cannot be exported here: {why}")
    if kind.name == INT8 and find_spec("nncf") is None:
        raise ConfigError(f"{kind.name} needs NNCF: pip install 'reconad[int8]'")
    engined = _with_graphs(detector, kind, detector.as_seen(images.learnt), folder)
    engined = recalibrated(detector, engined, images.held_out, images.learnt)
    if detector.self_test is not None:
        engined = engined.with_self_test(detector.self_test.image)
    _write_files(engined, detector.as_seen(images.held_out), kind, folder)
    return open_engine(detector, folder, kind)


def compare(
    before: Detector, after: Detector, images: ExportImages, clock: Callable[[], float]
) -> EngineFigures:
    """Compare a detector with the same one that an engine scores in; the clock is in seconds."""
    normal = np.concatenate([images.held_out, images.normal])
    of_normal, of_anomalous = (
        [each.score(of) for each in (before, after)] for of in (normal, images.anomalous)
    )
    decided = [
        [each.decide(of, scores) for each, scores in zip((before, after), both, strict=True)]
        for of, both in ((normal, of_normal), (images.anomalous, of_anomalous))
    ]
    auroc, engine_auroc = (
        image_auroc(good.pred_score, bad.pred_score)
        for good, bad in zip(of_normal, of_anomalous, strict=True)
    )
    levels = before.light_levels
    calibrations = (before.calibration,) if levels is None else levels.calibrations
    fewest = min(each.independent_images for each in calibrations)
    unsure = math.sqrt(SMALL_P_VALUE * (1 - SMALL_P_VALUE) / fewest)
    old, new = decided[0]
    return EngineFigures(
        engine=after.engine.name,
        normal=len(normal),
        anomalous=len(images.anomalous),
        auroc=auroc,
        engine_auroc=engine_auroc,
        p_value_move=_largest_move(old.p_value, new.p_value),
        most_p_value_move=MOST_P_VALUE_MOVE * unsure,
        labels_changed=sum(int((a.pred_label != b.pred_label).sum()) for a, b in decided),
        cpu_seconds=_seconds(before, normal, clock),
        engine_cpu_seconds=_seconds(after, normal, clock),
    )


def _largest_move(old: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    is_small = np.minimum(old, new) <= SMALL_P_VALUE
    return float(np.abs(old - new)[is_small].max(initial=0.0))


def _seconds(detector: Detector, images: Pictures, clock: Callable[[], float]) -> float:
    """Time pictures one by one, and take the median."""
    took = []
    for image in images[: TIMED_IMAGES + 1]:
        start = clock()
        detector.score(image[None])
        took.append(clock() - start)
    return float(np.median(took[1:] or took))  # the first warms up


def _with_graphs(detector: Detector, kind: EngineKind, learnt: Pictures, folder: Path) -> Detector:
    """Write the graph of each network of a detector, and return the detector with them."""
    own = folder / ENGINES_FOLDER / kind.name
    own.mkdir(parents=True)
    model = convert_network(detector, _shrunk(detector, learnt[:1]))
    if kind.name == INT8:
        model = narrow_graph(model, detector, _shrunk(detector, learnt))
    import openvino

    openvino.save_model(model, own / GRAPH_FILE, compress_to_fp16=False)
    engine = read_graph(own, kind, *_takes(detector))
    witness = detector.witness
    if witness is not None:
        second = _with_graphs(witness.detector, kind, learnt, folder / WITNESS_FOLDER)
        witness = Witness(second, witness.first)
    return replace(detector, engine=engine, witness=witness)


def _write_files(detector: Detector, held_out: Pictures, kind: EngineKind, folder: Path) -> None:
    pictures = _shrunk(detector, held_out)
    scores = score_plainly(detector.engine, detector, pictures).pred_score
    # the lowest score, the highest, and those between in even steps
    at = np.argsort(scores)[np.linspace(0, len(scores) - 1, TEST_PICTURES).round().astype(int)]
    tolerance = TOLERANCE * max(float(scores.std()), TOLERANCE * float(np.abs(scores).max()))
    test = EngineCheck(pictures[at], tuple(scores[at].tolist()), tolerance)
    own = folder / ENGINES_FOLDER / kind.name
    EngineFiles(kind, processor_kind(), *_takes(detector), detector, test).write(own)
    if detector.witness is not None:
        _write_files(detector.witness.detector, held_out, kind, folder / WITNESS_FOLDER)


def _takes(detector: Detector) -> tuple[bool, bool]:
    return detector.normal_map is not None, detector.region is not None


def _shrunk(detector: Detector, images: Pictures) -> Pictures:
    return resize(images, detector.network_size_px)


def convert_network(detector: Detector, example: Pictures) -> Any:
    """Convert a network with all that turns its maps into scores to a model of OpenVINO."""
    import openvino

    graph = ScoringGraph(network_of(detector), detector.window_px, *_takes(detector)).eval()
    inputs = tuple(torch.from_numpy(each) for each in inputs_of(detector, example))
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of how OpenVINO looks into PyTorch
        model = openvino.convert_model(graph, example_input=inputs)
    shapes = [openvino.PartialShape([-1, *each.shape[1:]]) for each in inputs]
    model.reshape(dict(zip(model.inputs, shapes, strict=True)))
    return model


def inputs_of(detector: Detector, images: NDArray[np.uint8]) -> list[NDArray[Any]]:
    """Return what a graph takes of pictures as they come, everywhere."""
    count, shape = len(images), images.shape[-2:]
    one, nothing = np.ones((count, 3, 1, 1), np.float32), np.zeros((count, *shape), np.float32)
    has_normal, has_region = _takes(detector)
    more = [nothing, nothing + 1] * has_normal + [nothing == 0] * has_region
    return [images, one, 0 * one, *more]


def narrow_graph(model: Any, detector: Detector, learnt: Pictures) -> Any:
    """Quantise the convolutions to int8, all but the last; what surrounds the network stays.

    Ranges that normal images alone had told would cut off what an anomaly says.
    """
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    normal = _some(learnt, NARROWED_ON)
    images = np.concatenate([normal, _with_anomalies(_some(normal, SIMULATED_IN))])
    samples = [inputs_of(detector, each[None]) for each in images]
    return nncf.quantize(
        model,
        nncf.Dataset(samples),
        preset=nncf.QuantizationPreset.MIXED,  # activations on either side of 0
        subset_size=len(samples),
        fast_bias_correction=False,  # scores come closer to PyTorch's, see benchmarks/README.md
        ignored_scope=nncf.IgnoredScope(names=_kept_wide(model), validate=False),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.OverflowFix.DISABLE if has_wide_sums() else nncf.OverflowFix.ENABLE
        ),
    )


def _some(images: Pictures, most: int) -> Pictures:
    return images[:: -(-len(images) // most)]


def _with_anomalies(images: Pictures) -> Pictures:
    drawn = simulate_anomalies(torch.from_numpy(images), torch.Generator().manual_seed(0), STAINS)
    return drawn.pixels.numpy()


def _kept_wide(model: Any) -> list[str]:
    """Name the nodes that stay in float32: all before the first convolution, and the last ones
    with all behind them."""
    before, behind = set(), set()
    for node in model.get_ordered_ops():
        if node.get_type_name() in _NARROWED:
            continue
        inputs = [each.get_source_output().get_node() for each in node.inputs()]
        if all(each.get_friendly_name() in before for each in inputs):
            before.add(node.get_friendly_name())
    waiting = list(model.get_results())
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() in behind:
            continue
        behind.add(node.get_friendly_name())
        if node.get_type_name() not in _NARROWED:
            waiting += [each.get_source_output().get_node() for each in node.inputs()]
    types = {node.get_friendly_name(): node.get_type_name() for node in model.get_ordered_ops()}
    return sorted(
        name for name in before | behind if types[name] not in ("Constant", "Parameter", "Result")
    )
