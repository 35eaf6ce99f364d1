"""What the prediction log costs a request: the time that it takes to hand the rows over, and how
long requests take without the log, with it, and with a shadow besides, by turns.

    python benchmarks/prediction_log.py --clients 1 --seconds 5 --rounds 5
    python benchmarks/prediction_log.py --pause-ms 100 --shadow-share 0.1 --threads 2

The weights are untrained, which changes no time. The bucket takes what it gets, or with ``--away``
answers to nothing; the spool is on a real disk.
"""

import argparse
import base64
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from mlflow_models.serving.log_settings import LogSettings
from mlflow_models.serving.prediction_log import PredictionLog
from mlflow_models.serving.pyfunc import DetectorPyfunc
from mlflow_models.serving.shadow import Shadow
from mlflow_models.serving.version import ServedVersion
from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.torch_engine import TorchEngine
from reconad_plugin.images.light_reference import LightReference
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize
from reconad_plugin.ledger.served import NightBorder
from reconad_plugin.networks.registry import model_spec

SHARES = (50, 95, 99)  # percentiles
DIFFERENT = 60  # requests


class Bucket:
    """Takes all, or nothing."""

    def __init__(self, is_away: bool) -> None:
        self.is_away = is_away

    def write(self, key: str, content: bytes, content_type: str) -> None:
        """Take one part."""
        if self.is_away:
            raise OSError("away")


def main() -> None:
    """Measure, and print a line a way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="ae")
    parser.add_argument("--side", type=int, default=128, help="of what the network sees, px")
    parser.add_argument("--width", type=int, default=1280, help="of the pictures, px")
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--clients", type=int, default=1, help="that ask at once")
    parser.add_argument("--pictures", type=int, default=1, help="of a request")
    parser.add_argument("--pause-ms", type=float, default=0, help="between a client's requests")
    parser.add_argument("--seconds", type=float, default=5, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shadow-share", type=float, default=0, help="of the pictures")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    parser.add_argument("--away", action="store_true", help="the bucket answers to nothing")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    version = ServedVersion(_detector(options.model, options.side), "1")
    base = _pixels(options.width, options.height)
    asked = [_request(base, number, options.pictures) for number in range(DIFFERENT)]
    handed: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        logs = {"log": _log(Path(folder) / "log", options.away)}
        logs["log"].offer = _timed(logs["log"].offer, handed)  # type: ignore[method-assign]
        if options.shadow_share:
            logs["shadow"] = _log(Path(folder) / "shadow", options.away)
            logs["shadow"].shadow = Shadow(options.shadow_share, (), version)
        ways = {"without": DetectorPyfunc(version)}
        ways |= {name: DetectorPyfunc(version, log=log) for name, log in logs.items()}
        found: dict[str, list[float]] = {way: [] for way in ways}
        for served in ways.values():
            served.predict(asked[0])
        for number in range(options.rounds):
            for way in list(ways)[:: 1 if number % 2 else -1]:
                found[way] += _ask(ways[way], asked, options)
        for log in logs.values():
            log.close()
    for way, seconds in found.items():
        figures = "  ".join(f"p{each} {1e3 * np.percentile(seconds, each):7.2f}" for each in SHARES)
        print(f"{way:8} {len(seconds):6} requests  {figures} ms")
    for what, seconds in zip(("clock", "processor"), zip(*handed, strict=True), strict=True):
        figures = "  ".join(f"p{each} {1e6 * np.percentile(seconds, each):.0f}" for each in SHARES)
        print(f"handing over, {what}: {figures}, at most {1e6 * max(seconds):.0f} microseconds")
    for name, log in logs.items():
        print(name, log.counts)


def _log(folder: Path, is_away: bool) -> PredictionLog:
    settings = LogSettings("factory", "part", NightBorder(), folder)
    return PredictionLog(settings, Bucket(is_away))  # type: ignore[arg-type]


def _ask(
    served: DetectorPyfunc, asked: Sequence[pd.DataFrame], options: argparse.Namespace
) -> list[float]:
    """Ask for some seconds, one request after the other; how long each took."""
    end_s = time.perf_counter() + options.seconds

    def client(_: int) -> list[float]:
        took = []
        requests = cycle(asked)
        while (start_s := time.perf_counter()) < end_s:
            served.predict(next(requests))
            took.append(time.perf_counter() - start_s)
            time.sleep(options.pause_ms / 1e3)
        return took

    with ThreadPoolExecutor(options.clients) as threads:
        return [each for own in threads.map(client, range(options.clients)) for each in own]


def _timed(call: Callable[..., None], seconds: list[tuple[float, float]]) -> Callable[..., None]:
    def timed(*arguments: object) -> None:
        start_s, start_processor_s = time.perf_counter(), time.thread_time()
        call(*arguments)
        seconds.append((time.perf_counter() - start_s, time.thread_time() - start_processor_s))

    return timed


def _detector(model: str, side_px: int) -> Detector:
    spec, size = model_spec(model), ImageSize.square(side_px)
    architecture = spec.architecture(None, {})
    calibration = calibrate([0.1, 0.2], 0.02, [0.1, 0.2])
    network = spec.build_network(size, **architecture).eval()
    engine = TorchEngine(network, spec.score_window_px(size))
    light = LightReference((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    return Detector(
        model, architecture, size, engine, light, calibration, calibration, ImageLimits()
    )


def _request(pixels: np.ndarray, number: int, pictures: int) -> pd.DataFrame:
    """One with pictures that no other request has: a shadow draws pictures by their contents."""
    buffer = io.BytesIO()
    Image.fromarray(np.roll(pixels, 8 * number, axis=1)).save(buffer, "JPEG", quality=90)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return pd.DataFrame({"image": [encoded] * pictures})


def _pixels(width_px: int, height_px: int) -> np.ndarray:
    y, x = np.mgrid[:height_px, :width_px]
    waves = [120 + 60 * np.sin(x / 31 + phase) * np.cos(y / 23) for phase in range(3)]
    noise = np.random.default_rng(0).normal(0, 4, (height_px, width_px, 3))
    return (np.stack(waves, -1) + noise).clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
