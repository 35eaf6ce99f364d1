"""An installation of the base alone serves a version with an engine as the nights score it."""

import base64
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from numpy.typing import NDArray
from PIL import Image

from flows.platform.processes import answers, free_ports
from mlflow_models import flavor
from mlflow_models.own_wheel import own_wheel
from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.engine import ENGINES
from reconad_plugin.detector.engine_export import ExportImages, export_engine
from reconad_plugin.detector.torch_engine import TorchEngine
from reconad_plugin.images.light_reference import LightReference
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.registry import model_spec

CHECKOUT = Path(__file__).parents[2]
MOST_MB = 1000
PATIENCE_S = 600
PICTURES = np.random.default_rng(0).integers(0, 256, (20, 3, 128, 128), np.uint8)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of reconad's base, as a factory without an index has them."""
    folder = tmp_path_factory.mktemp("wheels")
    own = own_wheel()
    assert own is not None
    own.write(folder)
    pinned = ["--constraint", str(CHECKOUT / "constraints.txt")]
    tools = ["pip", "setuptools", "wheel"]  # that MLflow puts into each environment
    pip(Path(sys.executable).parent, "download", str(folder / own.path), *tools, *pinned,
        "--dest", str(folder))  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def lean(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with nothing but reconad's base in it."""
    folder = tmp_path_factory.mktemp("lean")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    programs = folder / "venv" / "bin"
    pip(programs, "install", "reconad", "--no-index", "--find-links", str(wheels))
    return programs


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NDArray[np.float64]]:
    """A model with an engine, and what that engine scores here, where PyTorch is."""
    folder = tmp_path_factory.mktemp("model")
    spec, size = model_spec("ae"), ImageSize.square(128)
    architecture = spec.architecture(None, {})
    engine = TorchEngine(
        spec.build_network(size, **architecture).eval().to(memory_format=torch.channels_last),
        spec.score_window_px(size),
    )
    light, nothing = LightReference((0.5,) * 3, (0.2,) * 3), calibrate([0.0, 1.0], 0.1)
    plain = Detector(
        "ae", architecture, size, engine, light, nothing, nothing, ImageLimits()
    )  # fmt: skip
    scores, matched = plain.score(PICTURES), plain.score_matched(PICTURES)
    detector = replace(
        plain,
        calibration=calibrate(scores.pred_score, 0.1, scores.map_maxima),
        matched_calibration=calibrate(matched.pred_score, 0.1, matched.map_maxima),
    )
    images = ExportImages(PICTURES, PICTURES, PICTURES[:0], PICTURES[:0])
    engined = export_engine(detector, ENGINES["openvino"], images, folder / "engines")
    flavor.save_model(detector, str(folder / "model"), engines=folder / "engines")
    return folder / "model", engined.score(PICTURES[:3]).pred_score


def outside() -> dict[str, str]:
    """The environment variables, without those that lead to this installation."""
    left_out = ("PYTHONPATH", "VIRTUAL_ENV", "RECONAD_ENGINE")
    return {name: each for name, each in os.environ.items() if name not in left_out}


def pip(programs: Path, *what: str) -> None:
    """Run pip of an environment."""
    line = [str(programs / "python"), "-m", "pip", "--quiet", *what]
    ended = subprocess.run(
        line, env=outside(), capture_output=True, check=False, text=True, timeout=PATIENCE_S
    )
    assert ended.returncode == 0, ended.stderr[-2000:]


@contextmanager
def serving(
    programs: Path, model: Path, manager: str, folder: Path, **variables: str
) -> Iterator[str]:
    """A server of the model from the environment; yields its address."""
    (port,) = free_ports(1)
    log = (folder / f"{manager}.log").open("w")
    own = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "UV_PYTHON_DOWNLOADS": "never"}
    process = subprocess.Popen(
        [str(programs / "mlflow"), "models", "serve", "-m", str(model), "--env-manager", manager,
         "--port", str(port)],
        cwd=folder, env={**outside(), **own, **variables, "MLFLOW_ENV_ROOT": str(folder / "envs")},
        stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not answers(f"http://127.0.0.1:{port}/ping"):
            said = Path(log.name).read_text()[-2000:]
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        log.close()


def test_the_base_is_small_and_has_no_pytorch(lean: Path) -> None:
    """Nor Prefect, nor Evidently."""
    size = sum(file.lstat().st_size for file in lean.parent.rglob("*") if file.is_file())
    code = "from importlib.util import find_spec; print([*map(find_spec, {!r})])"
    names = ["torch", "prefect", "evidently"]

    found = subprocess.run(
        [str(lean / "python"), "-c", code.format(names)],
        env=outside(), capture_output=True, check=True, text=True,
    )  # fmt: skip

    assert size < MOST_MB * 1e6
    assert found.stdout.strip() == "[None, None, None]"


@pytest.mark.parametrize("manager", ["local", "uv"])
def test_it_serves_the_scores_of_the_nights(
    lean: Path, model: tuple[Path, NDArray[np.float64]], tmp_path: Path, manager: str
) -> None:
    """From the environment itself, and from one that MLflow makes of the wheel in the model: with
    an index, and then without."""
    if manager == "uv":
        pip(lean, "install", "uv")
    records = [{"image": _base64(each)} for each in PICTURES[:3]]

    for offline in ("0", "1") if manager == "uv" else ("0",):  # the second time from uv's cache
        place = tmp_path / offline
        place.mkdir()
        with serving(lean, model[0], manager, place, UV_OFFLINE=offline) as url:
            answer = requests.post(url, json={"dataframe_records": records}, timeout=60).json()

        scores = [row["pred_score"] for row in answer["predictions"]]
        np.testing.assert_allclose(scores, model[1], rtol=1e-6)


def test_a_virtualenv_of_the_model_needs_no_index(
    lean: Path, wheels: Path, model: tuple[Path, NDArray[np.float64]], tmp_path: Path
) -> None:
    """MLflow makes one with pip, of reconad's own wheel in the model and of a folder of wheels. It
    asks pyenv for Python, which here hands out this one, and builds none."""
    root = tmp_path / "pyenv"
    root.mkdir()
    (root / "pyenv").write_text(
        f"#!/bin/sh\nroot=${{PYENV_ROOT:-{root}}}\n"
        '[ "$1" = root ] && echo "$root" && exit\n'
        'for version; do :; done; mkdir -p "$root/versions/$version/bin"\n'
        f'ln -sf {os.path.realpath(sys.executable)} "$root/versions/$version/bin/python"\n'
    )
    (root / "pyenv").chmod(0o755)
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    programs = f"{lean}{os.pathsep}{root}{os.pathsep}{os.environ['PATH']}"
    records = [{"image": _base64(each)} for each in PICTURES[:3]]

    with serving(lean, model[0], "virtualenv", tmp_path, **offline, PATH=programs) as url:
        answer = requests.post(url, json={"dataframe_records": records}, timeout=60).json()

    scores = [row["pred_score"] for row in answer["predictions"]]
    np.testing.assert_allclose(scores, model[1], rtol=1e-6)


def _base64(picture: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture.transpose(1, 2, 0)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
