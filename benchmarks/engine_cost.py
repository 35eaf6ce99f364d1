"""What an engine costs: seconds of one picture, of the processor and by the clock, of the network
with all that turns its maps into a score. The weights are untrained, which changes nothing of that.

The ways take turns in one process, picture by picture. ONNX Runtime takes part where it is
installed, with onnx and onnxscript.

    OMP_NUM_THREADS=1 python benchmarks/engine_cost.py --cases draem-small-128 ae-small-128
"""

import argparse
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from reconad_plugin.detector.batch import ScoringGraph
from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.engine import ENGINES, OpenVinoGraph, processor_kind, why_not_here
from reconad_plugin.detector.engine_export import INT8, convert_network, inputs_of, narrow_graph
from reconad_plugin.detector.torch_engine import TorchEngine, network_of
from reconad_plugin.images.light_reference import LightReference
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.registry import model_spec

CASES = ("ae-small-128", "draem-small-128", "draem-paper-256")  # model, width and side
NARROWED_ON = 8  # random pictures; which ones changes no time
WARMUP = 2

Call = Callable[[], object]


class Taken(NamedTuple):
    """Seconds of one picture."""

    processor_s: float
    clock_s: float


def main() -> None:
    """Time each way of each case, and print medians of the processor and of the clock."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="MODEL-WIDTH-SIDE")
    parser.add_argument("--calls", type=int, default=20, help="pictures of each way")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for case in options.cases:
        with TemporaryDirectory() as folder, torch.inference_mode():
            took = by_turns(ways(build(case), Path(folder)), options.calls)
        figures[case] = {way: _summary(each) for way, each in took.items()}
        usual = figures[case]["torch"]["processor_s"]
        for way, found in figures[case].items():
            print(
                f"{case:16} {way:15} {1000 * found['processor_s']:8.1f} ms of the processor, "
                f"{usual / found['processor_s']:.2f} times as fast as torch; "
                f"{1000 * found['clock_s']:.1f} ms by the clock",
                flush=True,
            )
    if options.json is not None:
        notes = {"threads": threads, "processor": processor_kind(), "torch": torch.__version__}
        options.json.write_text(json.dumps({"figures": figures, "notes": notes}, indent=2))


def _summary(taken: list[Taken]) -> dict[str, float]:
    """Medians, and the least that the processor took."""
    processor_s, clock_s = map(statistics.median, zip(*taken, strict=True))
    least_s = min(each.processor_s for each in taken)
    return {"processor_s": processor_s, "least_processor_s": least_s, "clock_s": clock_s}


def build(case: str) -> Detector:
    """Build an untrained detector."""
    model, width, side = case.split("-")
    spec, size = model_spec(model), ImageSize.square(int(side))
    architecture = spec.architecture(width, {})
    network = spec.build_network(size, **architecture).eval()
    calibration = calibrate([0.1, 0.2], 0.02)
    return Detector(
        model,
        architecture,
        size,
        TorchEngine(network.to(memory_format=torch.channels_last), spec.score_window_px(size)),
        LightReference((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)),
        calibration,
        calibration,
        ImageLimits(),
    )


def ways(detector: Detector, folder: Path) -> dict[str, Call]:
    """Make all ways to score one picture that this machine has."""
    shape = (NARROWED_ON, 3, *detector.image_size_px.shape)
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    one = pictures[:1]

    def in_bfloat16() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            detector.score(one)

    found: dict[str, Call] = {"torch": lambda: detector.score(one)}
    if why_not_here(ENGINES["openvino-bf16"]) is None:  # else it is emulated, ten times as slow
        found["torch-bf16"] = in_bfloat16
    inputs = inputs_of(detector, one)
    for name, kind in ENGINES.items():
        if why_not_here(kind) is None:
            model = convert_network(detector, one)
            if name == INT8:
                model = narrow_graph(model, detector, pictures)
            graph = OpenVinoGraph(model, kind)
            found[name] = lambda graph=graph: graph.run(*inputs)
    if find_spec("onnxruntime") is not None:
        found["onnxruntime"] = in_onnxruntime(detector, one, folder / "graph.onnx")
    return found


def in_onnxruntime(detector: Detector, one: NDArray[np.uint8], file: Path) -> Call:
    """Export the same graph for ONNX Runtime."""
    import onnxruntime

    inputs = inputs_of(detector, one)
    graph = ScoringGraph(network_of(detector), detector.window_px, False, False).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensors = tuple(torch.from_numpy(each) for each in inputs)
        torch.onnx.export(graph, tensors, str(file), dynamo=False, opset_version=18)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"])
    named = {each.name: value for each, value in zip(session.get_inputs(), inputs, strict=False)}
    return lambda: session.run(None, named)


def by_turns(calls: dict[str, Call], count: int) -> dict[str, list[Taken]]:
    """Return what each call of each way took."""
    took: dict[str, list[Taken]] = {way: [] for way in calls}
    for number in range(count + WARMUP):
        for way, call in calls.items():
            began = Taken(time.process_time(), time.perf_counter())
            call()
            ended = Taken(time.process_time(), time.perf_counter())
            if number >= WARMUP:
                took[way].append(Taken(*map(float.__sub__, ended, began)))
    return took


if __name__ == "__main__":
    main()
