"""A training exports an engine beside its version where the product asks for one."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from flows.jobs import engine_beside as beside
from flows.jobs.engine_beside import engine_beside
from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.engine_files import with_engine
from reconad_plugin.training.images import NormalImages


@pytest.fixture
def images(make_normal):
    """Those that the thresholds of the tiny detector rest on, and a few that it learnt."""
    return NormalImages(make_normal(4, 2), make_normal(9, 1), make_normal(1, 3))


def test_the_engine_is_in_the_folder_while_it_is_logged(tiny_detector, images):
    """And gone after that; it scores as PyTorch does."""
    with engine_beside(tiny_detector, images, "openvino") as folder:
        engined = with_engine(tiny_detector, folder, "openvino")

    assert engined.engine.name == "openvino"
    pictures = images.calibration.numpy()
    found, expected = (each.score(pictures).pred_score for each in (engined, tiny_detector))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert not folder.exists()


def test_none_is_made_where_none_is_asked_for(tiny_detector, images, monkeypatch):
    """It is the default, and costs nothing."""
    monkeypatch.setattr(beside, "export_engine", None)

    with engine_beside(tiny_detector, images, "none") as folder:
        assert folder is None


def _fail(*_):
    raise RuntimeError("no\nsuch operation")


def _other_scores(detector, *_):
    scores = np.array(detector.calibration.normal_scores) * 1.1
    return replace(detector, calibration=calibrate(scores, 0.1))


@pytest.mark.parametrize(
    ("export", "said"),
    [
        pytest.param(_fail, "no such operation", id="cannot be made"),
        pytest.param(_other_scores, "it moves a held-out score by", id="scores otherwise"),
    ],
)
def test_a_training_never_fails_of_it(tiny_detector, images, monkeypatch, caplog, export, said):
    """One line says why the version has none."""
    monkeypatch.setattr(beside, "export_engine", export)

    with engine_beside(tiny_detector, images, "openvino") as folder:
        assert folder is None

    (line,) = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert line.startswith("the version is logged without the engine openvino: ")
    assert said in line
