"""Saved detectors that are read back, or cannot be."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.calibration_groups import CalibrationGroups
from reconad_plugin.detector.persistence import (
    DETECTOR_FILE,
    WEIGHTS_FILE,
    load_detector,
    save_detector,
)
from reconad_plugin.detector.weights_file import read_others, read_weights, write_arrays
from reconad_plugin.errors import ModelFormatError


@pytest.fixture
def saved(tiny_detector, tmp_path):
    """The folder of a saved detector."""
    save_detector(tiny_detector, tmp_path)
    return tmp_path


def rewrite(folder, **changes):
    """Change entries of a saved description."""
    path = folder / DETECTOR_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_sizes_of_the_network_are_kept(saved, tiny_detector, make_normal):
    """A network of unusual width is built again with that width."""
    loaded = load_detector(saved)

    assert loaded.architecture == {"width": 4, "latent_dim": 8}
    images = make_normal(3, 20)
    np.testing.assert_array_equal(
        loaded.score(images).anomaly_map, tiny_detector.score(images).anomaly_map
    )


def test_thresholds_are_kept(tiny_detector, tmp_path):
    """Pixel threshold and thresholds by light are read back as they were saved."""
    calibration = calibrate([0.1, 0.2, 0.3], 0.3, [0.4, 0.5, 0.6])
    levels = CalibrationGroups((0.25,), (calibration, calibrate([1, 2, 3], 0.3, [4, 5, 6])))
    detector = replace(tiny_detector, calibration=calibration, light_levels=levels)

    save_detector(detector, tmp_path)
    loaded = load_detector(tmp_path)

    assert loaded.calibration == calibration
    assert loaded.calibration.pixel_threshold == 0.6
    assert loaded.light_levels == levels


def test_detector_saved_before_pixel_thresholds_is_read(saved, tiny_detector):
    """A description without the newer entries loads, with one image threshold alone."""
    path = saved / DETECTOR_FILE
    description = json.loads(path.read_text())
    del description["light_levels"]
    for name in ("calibration", "matched_calibration"):
        del description[name]["pixel_threshold"]
    path.write_text(json.dumps(description))

    loaded = load_detector(saved)

    assert loaded.calibration.pixel_threshold is None
    assert loaded.light_levels is None
    assert loaded.calibration.image_threshold == tiny_detector.calibration.image_threshold


def test_pixel_threshold_that_is_no_number_is_refused(saved):
    """A pixel threshold of NaN would mark no pixel ever, so it is not loaded."""
    description = json.loads((saved / DETECTOR_FILE).read_text())

    rewrite(saved, calibration=description["calibration"] | {"pixel_threshold": float("nan")})

    with pytest.raises(ModelFormatError, match="the pixel threshold must be a number"):
        load_detector(saved)


def test_folder_is_made(tiny_detector, tmp_path):
    """Folders on the way are made."""
    save_detector(tiny_detector, tmp_path / "deep" / "down")

    assert load_detector(tmp_path / "deep" / "down").model == "ae"


def test_arrays_are_kept_as_they_are(tmp_path):
    """A single number stays one, and a view of another order has its values."""
    grid = np.arange(6).reshape(2, 3)

    write_arrays({"steps": np.array(7), "turned": grid.T}, {"region.": grid[:, 1:]}, tmp_path)

    kept = read_weights(tmp_path) | read_others(tmp_path)
    assert kept["steps"].shape == ()
    assert kept["steps"] == 7
    np.testing.assert_array_equal(kept["turned"], grid.T)
    np.testing.assert_array_equal(kept["region."], grid[:, 1:])


def test_saving_twice_replaces(tiny_detector, saved):
    """The last detector that was saved into a folder is the one that is loaded."""
    with torch.no_grad():
        tiny_detector.engine.network.to_latent.bias.fill_(0.25)

    save_detector(tiny_detector, saved)

    assert load_detector(saved).engine.network.to_latent.bias.tolist() == [0.25] * 8


@pytest.mark.parametrize(
    "name",
    [pytest.param(DETECTOR_FILE, id="description"), pytest.param(WEIGHTS_FILE, id="weights")],
)
def test_missing_file_is_named(saved, name):
    """Without one of the two files there is no detector, and the message says which."""
    (saved / name).unlink()

    with pytest.raises(ModelFormatError, match=f"a saved detector is .*{name}"):
        load_detector(saved)


def test_missing_folder_is_named(tmp_path):
    """A folder that is not there is an error that names it."""
    with pytest.raises(ModelFormatError, match="nowhere"):
        load_detector(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'{"format_version": 1, "mod', id="cut off"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe\x00{", id="not text"),
        pytest.param(b"[1, 2]", id="a list"),
        pytest.param(b"null", id="nothing"),
    ],
)
def test_broken_description_is_refused(saved, content):
    """A description that is no JSON object is an error of ours."""
    (saved / DETECTOR_FILE).write_bytes(content)

    with pytest.raises(ModelFormatError, match=saved.name):
        load_detector(saved)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[: len(content) // 2], id="cut off"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"\x80\x04" + content, id="begins like a pickle"),
        pytest.param(
            lambda content: content[:8] + b"\x00" * 64 + content[72:], id="header of zeros"
        ),
    ],
)
def test_broken_weights_are_refused(saved, damage):
    """Weights that are no safetensors file are an error of ours."""
    path = saved / WEIGHTS_FILE
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(ModelFormatError, match="a saved detector is"):
        load_detector(saved)


@pytest.mark.parametrize(
    "version",
    [pytest.param(6, id="newer"), pytest.param(None, id="none"), pytest.param("1", id="text")],
)
def test_other_format_versions_are_refused(saved, version):
    """What another reconad wrote in another format is not guessed at."""
    rewrite(saved, format_version=version)

    with pytest.raises(ModelFormatError, match=rf"reads formats 1 to 5; .* has {version!r}"):
        load_detector(saved)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        pytest.param("model", "transformer", id="unknown model"),
        pytest.param("model", None, id="no model"),
        pytest.param(
            "architecture", {"width": 8, "latent_dim": 8}, id="other width than the weights"
        ),
        pytest.param("architecture", {"depth": 3}, id="size that the model does not have"),
        pytest.param("architecture", None, id="no sizes"),
        pytest.param("image_size_px", 64, id="other image size than the weights"),
        pytest.param("image_size_px", 0, id="image size of zero"),
        pytest.param("image_size_px", "large", id="image size in words"),
        pytest.param("light", {"mean": [0.5, 0.5, 0.5]}, id="light without deviation"),
        pytest.param("light", None, id="no light"),
        pytest.param("calibration", {}, id="empty calibration"),
        pytest.param("calibration", None, id="no calibration"),
        pytest.param("matched_calibration", {"threshold": 1}, id="calibration of other names"),
        pytest.param("light_levels", {"edges": [0.5]}, id="levels without calibrations"),
        pytest.param("light_levels", {"edges": [0.5], "calibrations": []}, id="too few levels"),
    ],
)
def test_description_that_does_not_fit_is_refused(saved, entry, value):
    """A description that contradicts the weights, or lacks a part, is an error of ours."""
    rewrite(saved, **{entry: value})

    with pytest.raises(ModelFormatError, match="does not fit together"):
        load_detector(saved)


@pytest.mark.parametrize(
    "threshold", [pytest.param("NaN", id="NaN"), pytest.param("null", id="nothing")]
)
def test_threshold_that_is_no_number_is_refused(saved, threshold):
    """A threshold that is no number would call every image normal, so it is not loaded."""
    path = saved / DETECTOR_FILE
    description = json.loads(path.read_text())
    description["calibration"]["image_threshold"] = "HERE"
    path.write_text(json.dumps(description).replace('"HERE"', threshold))

    with pytest.raises(ModelFormatError, match="does not fit together"):
        load_detector(saved)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda weights: weights.pop("to_latent.bias"), id="a weight is missing"),
        pytest.param(lambda weights: weights.update(extra=torch.zeros(1)), id="a weight too many"),
    ],
)
def test_weights_of_another_network_are_refused(saved, change):
    """Weights must be the network's own, no less and no more."""
    weights = load_file(saved / WEIGHTS_FILE)
    change(weights)
    save_file(weights, saved / WEIGHTS_FILE)

    with pytest.raises(ModelFormatError, match="does not fit together"):
        load_detector(saved)
