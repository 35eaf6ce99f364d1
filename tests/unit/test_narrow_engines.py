"""Engines that count in int8 or bfloat16."""

import numpy as np
import pytest

from reconad_plugin.detector import engine_export
from reconad_plugin.detector.engine import ENGINES, why_not_here
from reconad_plugin.detector.engine_export import export_engine
from reconad_plugin.detector.engine_files import ENGINE_VARIABLE, GRAPH_FILE
from reconad_plugin.detector.persistence import load_detector, save_detector
from reconad_plugin.errors import ConfigError
from tests.small_engines import *  # noqa: F403  its pictures
from tests.small_engines import build


@pytest.mark.parametrize(
    "has_wide_sums", [pytest.param(True, id="wide"), pytest.param(False, id="7 bits")]
)
def test_int8_scores_nearly_as_pytorch(images, tmp_path, monkeypatch, has_wide_sums):
    """The last convolution and what is behind it stay wide."""
    monkeypatch.setattr(engine_export, "has_wide_sums", lambda: has_wide_sums)
    plain = build(images.held_out, 0)

    engined = export_engine(plain, ENGINES["openvino-int8"], images, tmp_path)

    graph = (tmp_path / "engines" / "openvino-int8" / GRAPH_FILE).read_text()
    assert graph.count('element_type="i8"') == 8  # of 7 convolutions and 2 linear layers
    was, found = (each.score(images.anomalous).pred_score for each in (plain, engined))
    np.testing.assert_allclose(found, was, rtol=0.05)
    assert engined.calibration.image_threshold == pytest.approx(
        plain.calibration.image_threshold, rel=0.05
    )
    own = np.sort(engined.score(images.held_out).pred_score)  # what its thresholds rest on
    np.testing.assert_allclose(engined.calibration.normal_scores, own, rtol=1e-5)
    assert not np.allclose(plain.calibration.normal_scores, own, rtol=1e-5)


def test_learnt_images_tell_the_ranges_of_int8_also_with_anomalies(images, tmp_path, monkeypatch):
    """Each as it is, and once more with a part of it simulated; no image that a threshold rests on
    is among them."""
    import nncf  # takes seconds

    asked, quantize = [], nncf.quantize

    def record(model, dataset, **options):
        asked.extend(sample[0][0] for sample in dataset.get_data())
        return quantize(model, dataset, **options)

    monkeypatch.setattr(nncf, "quantize", record)

    export_engine(build(images.held_out, 0), ENGINES["openvino-int8"], images, tmp_path)

    count = len(images.learnt)
    normal, anomalous = np.stack(asked[:count]), np.stack(asked[count:])
    np.testing.assert_array_equal(normal, images.learnt)
    changed = (anomalous != images.learnt).any(1).mean((1, 2))
    assert ((changed > 0) & (changed < 1)).all()


def test_bfloat16_serves_with_thresholds_of_its_own(images, tmp_path, monkeypatch):
    """Its scores are nearly those of PyTorch, and not the same; its thresholds rest on them, also
    when it is loaded. A processor without it exports none."""
    plain, bfloat16 = build(images.held_out, 0), ENGINES["openvino-bf16"]
    save_detector(plain, tmp_path)
    if why_not_here(bfloat16) is not None:
        with pytest.raises(ConfigError, match="this processor has no BF16"):
            export_engine(plain, bfloat16, images, tmp_path)
        return
    export_engine(plain, bfloat16, images, tmp_path)
    monkeypatch.setenv(ENGINE_VARIABLE, "auto")

    loaded = load_detector(tmp_path)

    assert loaded.engine.name == "openvino-bf16"
    was, found = (each.score(images.anomalous).pred_score for each in (plain, loaded))
    np.testing.assert_allclose(found, was, rtol=0.02)
    assert not np.array_equal(found, was)
    own = np.sort(loaded.score(images.held_out).pred_score)
    np.testing.assert_allclose(loaded.calibration.normal_scores, own, rtol=1e-5)
