"""Where nothing of the nights is installed: a version with an engine is served all the same."""

import base64
import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mlflow_models import flavor
from reconad_plugin.detector.contexts import ContextSums, References, describe_details
from reconad_plugin.detector.detector import Detector, Witness
from reconad_plugin.detector.engine import ENGINES
from reconad_plugin.detector.engine_export import ExportImages, export_engine
from reconad_plugin.images.region import PRODUCT, Region

REFUSE = """
import json, sys
from importlib.machinery import PathFinder

left_out = "torch torchvision prefect evidently matplotlib sklearn nncf sqlalchemy".split()
find = PathFinder.find_spec

def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in left_out else find(name, path, target)

PathFinder.find_spec = find_spec
"""
SERVE = """
import mlflow.pyfunc
import pandas as pd

rows = pd.read_json(sys.argv[2], dtype=False)
asked = {"overlay": True, "regions_found": True, "anomaly_map": True}
answers = mlflow.pyfunc.load_model(sys.argv[1]).predict(rows, params=asked)
from mlflow_models.flavor import load_model
detector = load_model(sys.argv[1])
from mlflow_models.serving.follow import try_out
from mlflow_models.serving.version import ServedVersion
try_out(ServedVersion(detector, "1"))
answers.to_json(sys.argv[3])
"""


def run(code, *arguments):
    """Run code in a process where what the nights alone need cannot be imported."""
    return subprocess.run(
        [sys.executable, "-c", REFUSE + code, *map(str, arguments)],
        capture_output=True, check=False, text=True, timeout=120,
    )  # fmt: skip


@pytest.fixture
def detector(tiny_detector, make_normal) -> Detector:
    """A detector with a region, contexts, a witness and a self-test."""
    normal = make_normal(16, 1).numpy()
    mask = np.ones(tiny_detector.image_size_px.shape, bool)
    mask[:5] = False
    region = Region({PRODUCT: mask})
    maps = replace(tiny_detector, region=region).score(normal).anomaly_map
    sums = ContextSums.of(maps, ["left", "right"] * 8)
    references = References(describe_details(normal[:2]), np.ones((64, 64), np.float32), reach=1e3)
    beside = replace(tiny_detector, region=region)
    return replace(
        tiny_detector,
        calibration=replace(tiny_detector.calibration, pixel_threshold=0.05),
        region=region,
        normal_map=sums.every.normal_map(mask),
        contexts=sums.context_maps(references, mask),
        witness=Witness(beside, tiny_detector.calibration),
    ).with_self_test(normal[0])


@pytest.fixture
def model(detector, make_normal, tmp_path):
    """The folder of the saved model, with an engine of any processor."""
    held_out, learnt = make_normal(9, 1).numpy(), make_normal(4, 3).numpy()
    images = ExportImages(learnt, held_out, learnt[:0], learnt[:0])
    export_engine(detector, ENGINES["openvino"], images, tmp_path / "engines")
    flavor.save_model(detector, str(tmp_path / "model"), engines=tmp_path / "engines")
    return tmp_path / "model"


def test_an_exported_version_is_served_as_with_pytorch(model, detector, make_normal, tmp_path):
    """Scores, maps, areas, contexts and overlays, told and recognised; nothing of PyTorch."""
    pictures = make_normal(3, 7).numpy().transpose(0, 2, 3, 1)
    rows = pd.DataFrame({"image": [_base64(each) for each in pictures]})
    rows = rows.assign(context=["left", None, "right"])
    rows.to_json(tmp_path / "rows.json")

    ended = run(SERVE, model, tmp_path / "rows.json", tmp_path / "answers.json")

    assert ended.returncode == 0, ended.stderr[-2000:]
    answers = pd.DataFrame(json.loads((tmp_path / "answers.json").read_text()))
    expected = detector.score(make_normal(3, 7).numpy(), ["left", None, "right"])
    np.testing.assert_allclose(answers["pred_score"], expected.pred_score, rtol=1e-3)
    assert answers["context"].fillna("").tolist() == list(expected.contexts)
    assert expected.contexts[1] in ("left", "right")
    assert answers["overlay"].notna().all()
    assert answers["regions_found"].notna().all()


def test_a_version_without_an_engine_says_what_to_install(tiny_detector, tmp_path):
    """It is PyTorch's alone."""
    flavor.save_model(tiny_detector, str(tmp_path / "model"))

    ended = run("from mlflow_models.flavor import load_model; load_model(sys.argv[1])",
                tmp_path / "model")  # fmt: skip

    assert "PyTorch is not installed, and no engine of the model serves here" in ended.stderr
    assert "pip install 'reconad[torch]'" in ended.stderr


def test_a_command_of_the_nights_says_what_to_install():
    """Each in one line, and ends as what a person can mend."""
    code = (
        "from flows.commands.cli import main\n"
        "for command in sys.argv[1:]:\n"
        "    print(main(command.split()), file=sys.stderr)"
    )

    ended = run(code, "train --data .", "nightly p 2024-01-01")

    said = ended.stderr.splitlines()
    assert said[1::2] == ["2", "2"]
    assert all(line.endswith("pip install 'reconad[night]'") for line in said[::2])


def _base64(picture) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
