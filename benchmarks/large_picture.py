"""What one picture of 20 megapixels costs that is seen in windows: peak memory, and its processor
time against the same pixels as small pictures. The weights are untrained, which changes neither.

    python benchmarks/large_picture.py --model ae
"""

import argparse
import io
import resource
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
from PIL import Image

from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.prediction import predict_contents
from reconad_plugin.detector.torch_engine import TorchEngine
from reconad_plugin.detector.windows import Windows
from reconad_plugin.images.light_reference import LightReference
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.registry import MODELS, model_spec

LARGE = ImageSize(3648, 5472)
ROUNDS = 1
TILE_PX = 256


def main() -> None:
    """Measure each way in a process of its own, so that its peak is its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, default="ae")
    parser.add_argument("--side", type=int, default=256, help="of a window and of a small picture")
    parser.add_argument("--way", choices=("large", "small", "nothing"))
    options = parser.parse_args()
    if options.way is not None:
        print(*measure(options.model, options.side, options.way))
        return
    found = {way: _measured(options, way) for way in ("nothing", "small", "large")}
    for way, (seconds, megabytes) in found.items():
        print(f"{way:8} {seconds:7.2f} s of processor  {megabytes:6.0f} MB at most")
    print(f"large over small {found['large'][0] / found['small'][0]:.2f}")


def _measured(options: argparse.Namespace, way: str) -> tuple[float, float]:
    command = [sys.executable, __file__, "--model", options.model, "--side", str(options.side)]
    answer = subprocess.run(
        [*command, "--way", way], check=True, capture_output=True, text=True
    ).stdout.split()
    return float(answer[0]), float(answer[1])


def measure(model: str, side_px: int, way: str) -> tuple[float, float]:
    """Return the least processor seconds of some rounds, and the peak in megabytes."""
    small = ImageSize.square(side_px)
    detector, files = _detector(model, small), list[bytes]()
    if way == "large":
        windows = Windows(small, whole_scale=1.0, window_scale=1.0)
        detector = replace(detector, image_size_px=LARGE, windows=windows)
        files = [_file(LARGE)]
    elif way == "small":
        files = [_file(small)] * round(LARGE.pixels / small.pixels)
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.process_time()
        rows = predict_contents(detector, [partial(bytes, each) for each in files], "1")
        best = min(best, time.process_time() - begin)
        assert all(row.error is None for row in rows)
    return best, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _detector(model: str, size: ImageSize) -> Detector:
    spec = model_spec(model)
    architecture = spec.architecture(None, {})
    calibration = calibrate([0.1, 0.2], 0.02, [0.1, 0.2])
    return Detector(
        model,
        architecture,
        size,
        TorchEngine(spec.build_network(size, **architecture).eval(), spec.score_window_px(size)),
        LightReference((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)),
        calibration,
        calibration,
        ImageLimits(),
    )


def _file(size: ImageSize) -> bytes:
    y, x = np.mgrid[:TILE_PX, :TILE_PX]
    waves = [120 + 60 * np.sin(x / 31 + phase) * np.cos(y / 23) for phase in range(3)]
    tile = Image.fromarray(np.stack(waves, -1).astype(np.uint8))
    picture = Image.new("RGB", size.shape[::-1])
    for corner in product(range(0, size.width_px, TILE_PX), range(0, size.height_px, TILE_PX)):
        picture.paste(tile, corner)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
