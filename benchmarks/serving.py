"""Ask a running `mlflow models serve` what people ask of it: how long answers take, whether each is
right while the champion changes, and what wrong requests and hours do to it.

    python benchmarks/serving.py --requests 100000 --malformed 20000 --soak-s 1800 --json FILE
    python benchmarks/serving.py --only soak --soak-s 1800

A server follows the champion of a product with two versions, on an MLflow server of its own.

latency: medians of single requests; less what the network alone takes for the same pictures here;
of a version with a narrow network, where protocol, decoding and answer take most; and of a model
of MLflow's own that does nothing. All by turns.
swaps: eight clients ask on end while the alias moves five times, back as well as on, and while the
registry is away for some seconds. An answer is wrong whose score is not that of the version that it
names.
malformed: requests and pictures that were damaged at random, columns and parameters that are none.
None may crash the server, be its own fault (5xx), show a trace, or take two seconds.
soak: one request in a hundred is wrong; the memory at the end against that after a tenth of it. In
less than five minutes memory has not settled, and may grow by more.
"""

import argparse
import http.client
import io
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import replace
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from malformed_requests import body_of, damaged, malformed_request
from mlflow import MlflowClient, pyfunc
from mlflow.models import ModelSignature
from PIL import Image
from servers import mlflow_server, scoring_server

from flows.platform.processes import LOOPBACK
from mlflow_models import flavor
from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.images.geometry import stack_images
from reconad_plugin.networks.registry import MODELS

NAME: Final = "reconad-served"
CLIENTS: Final = 8
SIDE_PX: Final = 256  # of the pictures that are sent
NETWORK_PX: Final = 128
SLOWEST_SWAP_S: Final = 5.0
SLOWEST_S: Final = 2.0  # that a malformed request may take
SWAPS: Final = ("2", "1", "2", "1", "2")  # the second is a rollback; the registry was away before
AWAY_BEFORE: Final = 3  # the swap of this index
SOAKED_S: Final = 300  # from which on the memory has settled
MOST_GROWTH: Final = 0.05
MOST_GROWTH_UNSETTLED: Final = 0.25
PARTS: Final = ("latency", "swaps", "malformed", "soak")
CLOSE: Final = 1e-3  # of a score, relative
TENTHS: Final = 10
WARMING: Final = 5  # turns that do not count
PAUSE_S: Final = 0.05  # until the helpers of what was timed before wait in no loop any more


def main() -> None:
    """Measure one after the other, print a line each, and exit with 1 where a promise is broken."""
    options = _read_options()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as registry:
        port = registry.enter_context(mlflow_server(Path(folder)))
        _make_versions(Path(folder))
        registry_port = [port]

        @contextmanager
        def away() -> Iterator[None]:
            registry.close()
            yield
            registry.enter_context(mlflow_server(Path(folder), registry_port[0]))

        uri, log = f"models:/{NAME}@champion", Path(folder) / "serve.log"
        with scoring_server(uri, log, options.workers) as (process, own_port):
            server = Server(process, own_port)
            pictures = [_picture(seed) for seed in range(16)]
            parts: dict[str, Callable[[], dict[str, Any]]] = {
                "latency": lambda: _measure_latency(server, pictures, Path(folder), options.turns),
                "swaps": lambda: _measure_swaps(server, pictures, options.requests, away),
                "malformed": lambda: _send_malformed(server, pictures[0], options.malformed),
                "soak": lambda: _soak(server, pictures, options.soak_s),
            }
            result: dict[str, Any] = {}
            for name in options.only:
                result[name] = parts[name]()
                _show(name, result)
            result["violations"] = _violations(result, server, options.patience)
            _show("violations", result)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.exit(bool(result["violations"]))


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=25, help="that are timed")
    parser.add_argument("--requests", type=int, default=100_000, help="while the champion changes")
    parser.add_argument("--malformed", type=int, default=20_000, help="requests")
    parser.add_argument("--soak-s", type=float, default=1800, help="seconds")
    parser.add_argument(
        "--patience", type=float, default=1, help="times the seconds that are promised, where busy"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that answer")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="of these parts")
    parser.add_argument("--json", type=Path, default=None)
    return parser.parse_args()


def _show(name: str, result: dict[str, Any]) -> None:
    print(f"{name}: {json.dumps(result[name])}", flush=True)


class Server:
    """A scoring server: its process and its address."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self.port = process, port

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(LOOPBACK, self.port, timeout=60)

    @property
    def memory_bytes(self) -> int:
        """Resident memory of what answers."""
        parent = psutil.Process(self.process.pid)
        return max(each.memory_info().rss for each in (parent, *parent.children(recursive=True)))


def _make_versions(folder: Path) -> None:
    """Two versions of one product, of trainings that differ by their seed; the first serves."""
    from flows.jobs.by_hand import train

    (folder / "parts").mkdir()
    for seed in range(20):
        (folder / "parts" / f"{seed}.png").write_bytes(_picture(1000 + seed))
    with chdir(folder):  # its cache
        for seed in (0, 1):
            settings = ProductSettings(
                model="ae", image_size_px=NETWORK_PX, seed=seed, train=TrainingSettings(steps=2)
            )
            train("parts", "served", settings)
    MlflowClient().set_registered_model_alias(NAME, "champion", "1")


def _picture(seed: int) -> bytes:
    """A PNG of a shaded part with a little noise."""
    noise = np.random.default_rng(seed)
    down, across = np.mgrid[0:SIDE_PX, 0:SIDE_PX] / SIDE_PX
    part = 100 + 60 * down + 30 * np.sin(12 * across + noise.normal(0, 0.1))
    pixels = part[..., None] + noise.normal(0, 3, (SIDE_PX, SIDE_PX, 3))
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _ask(
    connection: http.client.HTTPConnection, body: bytes, kind: str = "application/json"
) -> tuple[int, bytes]:
    connection.request("POST", "/invocations", body, {"Content-Type": kind})
    answer = connection.getresponse()
    return answer.status, answer.read()


def _measure_latency(
    server: Server, pictures: list[bytes], folder: Path, turns: int
) -> dict[str, float]:
    """Milliseconds of requests of one and of sixteen pictures, and of what they consist of."""
    detector = flavor.load_model(f"models:/{NAME}/1")
    found: dict[str, float] = {}
    with ExitStack() as others:
        beside = [
            others.enter_context(scoring_server(uri, folder / "beside.log"))
            for uri in (_narrow_version(folder), _trivial_model(folder))
        ]
        own, narrow, trivial = (each.connect() for each in (server, *starmap(Server, beside)))
        for count in (1, 16):
            body = body_of(pictures[:count])
            arrays = [np.asarray(Image.open(io.BytesIO(each))) for each in pictures[:count]]
            images = stack_images(arrays, detector.image_size_px)
            acts: dict[str, Callable[[], object]] = {
                "request": partial(_ask, own, body),
                "network": partial(detector.score, images),
                "narrow": partial(_ask, narrow, body),
                "trivial": partial(_ask, trivial, body),
            }
            took = {name: list[float]() for name in acts}
            for _ in range(WARMING + turns):
                for name, act in acts.items():
                    time.sleep(PAUSE_S)
                    took[name].append(_seconds(act))
            ms = {name: statistics.median(each[WARMING:]) * 1000 for name, each in took.items()}
            ms["over_network"] = ms["request"] - ms["network"]
            found |= {f"{name}_ms_{count}": round(value, 2) for name, value in ms.items()}
    return found


def _narrow_version(folder: Path) -> str:
    """Train a version with hardly a network; its address."""
    from flows.jobs.by_hand import train

    widths = {**MODELS["ae"].widths, "narrow": {"width": 4, "latent_dim": 8}}
    MODELS["ae"] = replace(MODELS["ae"], widths=widths)
    settings = ProductSettings(
        model="ae", width="narrow", image_size_px=NETWORK_PX, train=TrainingSettings(steps=2)
    )
    with chdir(folder):
        return train("parts", "narrow", settings).version.uri


def _trivial_model(folder: Path) -> str:
    """Save a model of MLflow's that takes our columns and says 0; its folder."""
    code, model = folder / "trivial.py", folder / "trivial"
    code.write_text(
        "from mlflow import models, pyfunc\n\n\n"
        "class Trivial(pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input, params=None):\n"
        "        return [0.0] * len(model_input)\n\n\n"
        "models.set_model(Trivial())\n"
    )
    signature = ModelSignature(inputs=flavor.SIGNATURE.inputs)
    pyfunc.save_model(model, python_model=code, signature=signature, pip_requirements=[])
    return str(model)


def _seconds(act: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    act()
    return time.perf_counter() - began_s


def _measure_swaps(
    server: Server, pictures: list[bytes], requests: int, away: Callable[[], Any]
) -> dict[str, Any]:
    """Clients that ask on end, and an alias that moves meanwhile."""
    expected = {}
    for version in ("1", "2"):
        detector = flavor.load_model(f"models:/{NAME}/{version}")
        arrays = [np.asarray(Image.open(io.BytesIO(each))) for each in pictures]
        expected[version] = detector.score(stack_images(arrays, detector.image_size_px)).pred_score
    bodies = [body_of([each]) for each in pictures]
    seen: list[tuple[float, str]] = []  # when each answer came, and from which version
    failed: list[str] = []
    left, lock, over = [requests], threading.Lock(), threading.Event()

    def ask_on(client: int) -> None:
        connection, index = server.connect(), client
        while True:
            with lock:
                if left[0] <= 0 and over.is_set():
                    return
                left[0] -= 1
            index = (index + 1) % len(bodies)
            try:
                status, content = _ask(connection, bodies[index])
                row = json.loads(content)["predictions"][0]
                score = expected[row["model_version"]][index]
                if status != 200 or abs(row["pred_score"] - score) > CLOSE * abs(score):
                    failed.append(f"{status} {row}")
                seen.append((time.monotonic(), row["model_version"]))
            except (OSError, http.client.HTTPException, KeyError, ValueError) as error:
                failed.append(repr(error))
                connection = server.connect()

    threads = [threading.Thread(target=ask_on, args=(client,)) for client in range(CLIENTS)]
    began_s = time.monotonic()
    for thread in threads:
        thread.start()
    took: list[float] = []
    memory_bytes: list[int] = []
    for index, version in enumerate(SWAPS):
        due = requests * (index + 1) / (len(SWAPS) + 1)
        while requests - left[0] < due:
            time.sleep(0.05)
        memory_bytes.append(server.memory_bytes)
        if index == AWAY_BEFORE:
            with away():
                time.sleep(3)
        MlflowClient().set_registered_model_alias(NAME, "champion", version)
        moved_s = time.monotonic()
        while not any(at > moved_s and by == version for at, by in seen[-200:]):
            if time.monotonic() > moved_s + 60:
                failed.append(f"version {version} did not come")
                break
            time.sleep(0.01)
        took.append(time.monotonic() - moved_s)
    over.set()
    for thread in threads:
        thread.join()
    elapsed_s = time.monotonic() - began_s
    return {
        "requests": len(seen) + len(failed),
        "wrong_or_failed": len(failed),
        "examples": failed[:3],
        "seconds_to_swap": took,
        "memory_mb": [round(each / 1e6, 1) for each in memory_bytes],  # before each
        "requests_a_second": len(seen) / elapsed_s,
    }


def _send_malformed(server: Server, picture: bytes, count: int) -> dict[str, Any]:
    """Send requests that are wrong in some way, as often as asked."""
    draw, connection = random.Random(0), server.connect()  # noqa: S311  no secret
    statuses: dict[str, int] = {}
    traces, slowest_s = 0, 0.0
    for _ in range(count):
        body, kind = malformed_request(picture, draw)
        began_s = time.perf_counter()
        try:
            status, content = _ask(connection, body, kind)
        except (OSError, http.client.HTTPException):
            status, content, connection = 0, b"", server.connect()
        slowest_s = max(slowest_s, time.perf_counter() - began_s)
        statuses[str(status)] = statuses.get(str(status), 0) + 1
        traces += b"Traceback" in content or b'File "' in content
    return {"statuses": statuses, "traces": traces, "slowest_s": slowest_s}


def _soak(server: Server, pictures: list[bytes], seconds: float) -> dict[str, Any]:
    """Ask for a while, wrongly now and then; how the memory grew."""
    draw, connection = random.Random(1), server.connect()  # noqa: S311  no secret
    bodies = [body_of(pictures[:count]) for count in (1, 2, 4)]
    began_s, count = time.monotonic(), 0
    memory_bytes: list[int] = []  # after each tenth of the time
    while len(memory_bytes) < TENTHS:
        wrong = draw.random() < 0.01
        _ask(connection, damaged(bodies[0], draw) if wrong else draw.choice(bodies))
        count += 1
        if time.monotonic() - began_s > seconds * (len(memory_bytes) + 1) / TENTHS:
            memory_bytes.append(server.memory_bytes)
    return {
        "seconds": seconds,
        "requests": count,
        "memory_mb": [round(each / 1e6, 1) for each in memory_bytes],
        "growth": memory_bytes[-1] / memory_bytes[0] - 1,
    }


def _violations(result: dict[str, Any], server: Server, patience: float) -> list[str]:
    checks = {"the server has ended": server.process.poll() is not None}
    if swaps := result.get("swaps"):
        checks["an answer was wrong or failed"] = swaps["wrong_or_failed"] > 0
        slowest_s = max(swaps["seconds_to_swap"])
        checks["a swap took more than 5 s"] = slowest_s > SLOWEST_SWAP_S * patience
    if malformed := result.get("malformed"):
        unanswered = [status for status in malformed["statuses"] if status[0] in "05"]
        checks["a malformed request was answered by 5xx or not at all"] = bool(unanswered)
        checks["a trace was shown"] = malformed["traces"] > 0
        checks["a malformed request took 2 s"] = malformed["slowest_s"] > SLOWEST_S * patience
    if soak := result.get("soak"):
        most = MOST_GROWTH if soak["seconds"] >= SOAKED_S else MOST_GROWTH_UNSETTLED
        checks[f"memory grew by more than {most:.0%}"] = soak["growth"] > most
    return [name for name, is_broken in checks.items() if is_broken]


if __name__ == "__main__":
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    main()
