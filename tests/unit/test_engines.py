"""Engines: graphs that score in PyTorch's place, what is checked of them, and when none serves."""

import json
import logging
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from reconad_plugin.detector import engine as engines
from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.calibration_groups import CalibrationGroups, luminances
from reconad_plugin.detector.detector import TORCH, Witness
from reconad_plugin.detector.engine import engine_kind
from reconad_plugin.detector.engine_export import ExportImages, compare, export_engine
from reconad_plugin.detector.engine_files import ENGINE_FILE, ENGINE_VARIABLE, GRAPH_FILE
from reconad_plugin.detector.normal_map import MapSums
from reconad_plugin.detector.persistence import load_detector, save_detector
from reconad_plugin.detector.windows import Windows
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.region import PRODUCT, Region
from reconad_plugin.images.size import ImageSize
from tests.small_engines import *  # noqa: F403  its pictures
from tests.small_engines import FPR, OPENVINO, SIZE, build, calibrated


def with_levels(detector, normal):
    """The detector with thresholds at two levels of light."""
    luminance, scores = luminances(normal), detector.score(normal)
    middle = float(np.median(luminance))
    of_levels = [
        calibrate(scores.pred_score[chosen], FPR, scores.map_maxima[chosen])
        for chosen in (luminance < middle, luminance >= middle)
    ]
    return replace(detector, light_levels=CalibrationGroups((middle,), tuple(of_levels)))


@pytest.fixture(scope="module")
def detector(images):
    """A detector with a normal map, a region, levels of light, a witness and a self-test."""
    normal, mask = images.held_out, np.ones(SIZE.shape, bool)
    mask[:6] = False
    region = Region({PRODUCT: mask})
    maps = build(normal, 0, region=region).score(normal).anomaly_map
    first = build(normal, 0, region=region, normal_map=MapSums.of(maps).normal_map())
    witness = Witness(build(normal, 1, region=region), first.calibration)
    both = with_levels(calibrated(replace(first, witness=witness), normal), normal)
    return both.with_self_test(normal[0])


@pytest.fixture(scope="module")
def exported(detector, images, tmp_path_factory):
    """The folder of the saved detector, with an engine."""
    folder = tmp_path_factory.mktemp("exported")
    save_detector(detector, folder)
    export_engine(detector, OPENVINO, images, folder)
    return folder


@pytest.fixture
def own_copy(exported, tmp_path):
    """A copy of that folder, to damage."""
    return shutil.copytree(exported, tmp_path / "copy")


def rewrite(folder, **changes):
    """Change what an engine says of itself."""
    file = folder / "engines" / "openvino" / ENGINE_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_graph_is_not_saved_as_a_network(exported, tmp_path):
    """Its thresholds are those of the graph: the error says how to load what can be saved."""
    loaded = load_detector(exported)

    with pytest.raises(ValueError, match="openvino scores in this one: load it with the engine"):
        save_detector(loaded, tmp_path)

    assert not list(tmp_path.iterdir())


def test_all_that_decides_is_tried_with_the_engine_in_it(own_copy, detector, caplog):
    """Not only the graph: the picture's score by the engine, its witness and its contexts is what
    it was at the export, else PyTorch serves."""
    loaded = load_detector(own_copy)
    assert loaded.self_test.pred_score == pytest.approx(detector.self_test.pred_score, rel=1e-3)
    loaded.check_itself()

    rewrite(own_copy, self_test_score=99.0)

    assert load_detector(own_copy).engine.name == TORCH
    assert "does not serve: a detector must score its self-test image as when" in caplog.text


def test_an_engine_of_before_has_no_score_of_its_own(own_copy):
    """What the network scored says nothing of it, so its graph alone is checked."""
    file = own_copy / "engines" / "openvino" / ENGINE_FILE
    description = json.loads(file.read_text())
    del description["self_test_score"]
    file.write_text(json.dumps(description))

    loaded = load_detector(own_copy)

    assert loaded.engine.name == "openvino"
    assert loaded.self_test is None


def test_an_engine_in_the_model_serves_by_itself(exported, detector, images):
    """It is the engine of both networks; maps, scores and thresholds are those of PyTorch."""
    loaded = load_detector(exported)

    assert loaded.engine.name == loaded.witness.detector.engine.name == "openvino"
    for each in (images.normal, images.anomalous):
        for was, found in (
            (detector.score(each), loaded.score(each)),
            (detector.score_matched(each), loaded.score_matched(each)),
        ):
            np.testing.assert_allclose(found.pred_score, was.pred_score, rtol=1e-3)
            np.testing.assert_allclose(found.anomaly_map, was.anomaly_map, rtol=1e-3, atol=1e-4)
    for of in ("calibration", "matched_calibration"):
        was, found = getattr(detector, of), getattr(loaded, of)
        assert found.image_threshold == pytest.approx(was.image_threshold, rel=1e-3)
        assert found.pixel_threshold == pytest.approx(was.pixel_threshold, rel=1e-3)
    for was, found in zip(
        detector.light_levels.calibrations, loaded.light_levels.calibrations, strict=True
    ):
        assert found.image_threshold == pytest.approx(was.image_threshold, rel=1e-3)


def test_each_picture_is_held_against_its_own_normal_map_and_region(exported, images):
    """As where contexts are told, and regions by position."""
    loaded = load_detector(exported)
    plain = load_detector(exported, TORCH)
    count = len(images.normal)
    normal = [replace(loaded.normal_map, mean=loaded.normal_map.mean * n) for n in range(count)]
    inside = np.random.default_rng(0).random((count, *SIZE.shape)) < 0.8

    was, found = (
        each.engine.score(images.normal, None, normal, inside) for each in (plain, loaded)
    )

    np.testing.assert_allclose(found.pred_score, was.pred_score, rtol=1e-4)
    np.testing.assert_allclose(found.anomaly_map, was.anomaly_map, rtol=1e-4, atol=1e-4)


def test_many_threads_score_at_once(exported, images):
    """Each gets the scores of its own pictures."""
    loaded = load_detector(exported)
    alone = loaded.score(images.normal).pred_score

    with ThreadPoolExecutor(8) as pool:
        scores = list(pool.map(lambda each: loaded.score(each).pred_score, images.normal[:, None]))

    np.testing.assert_allclose(np.concatenate(scores), alone, rtol=1e-6)


def test_windows_are_scored_by_the_engine(images, tmp_path, monkeypatch):
    """Both the shrunk picture, which has a normal map, and its windows, which have none."""
    pictures = np.tile(images.held_out, (1, 1, 2, 2))
    maps = build(images.held_out, 0).score(images.held_out).anomaly_map
    one = build(images.held_out, 0, normal_map=MapSums.of(maps).normal_map())
    windows = Windows(SIZE, whole_scale=2.0, window_scale=1.0)
    large = replace(one, image_size_px=ImageSize.square(64), windows=windows)
    large = calibrated(large, pictures)
    of_all = [np.tile(each, (1, 1, 2, 2)) for each in vars(images).values()]

    engined = export_engine(large, OPENVINO, ExportImages(*of_all), tmp_path)

    was, found = large.score(of_all[-1]), engined.score(of_all[-1])
    np.testing.assert_allclose(found.pred_score, was.pred_score, rtol=1e-4)
    np.testing.assert_allclose(found.anomaly_map, was.anomaly_map, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("choice", ["torch", "openvino-int8"])
def test_another_choice_leaves_pytorch(exported, detector, images, choice, monkeypatch):
    """``torch`` asks for no engine; one that the model has not cannot serve. Thresholds are back
    to those of PyTorch too."""
    monkeypatch.setenv(ENGINE_VARIABLE, choice)

    loaded = load_detector(exported)

    assert loaded.engine.name == TORCH
    assert loaded.calibration == detector.calibration
    np.testing.assert_array_equal(
        loaded.score(images.normal).pred_score, detector.score(images.normal).pred_score
    )


def test_an_unknown_engine_is_refused(exported, monkeypatch):
    """A misspelt variable does not quietly mean PyTorch."""
    monkeypatch.setenv(ENGINE_VARIABLE, "openvinno")

    said = "RECONAD_ENGINE must be one of auto, torch, .*; got 'openvinno'"
    with pytest.raises(ConfigError, match=said):
        load_detector(exported)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param(
            {"scores": [1.0, 2.0, 3.0]}, "it scores a picture .* off what it did", id="score"
        ),
        pytest.param({"scores": [float("nan")] * 3}, "it scores a picture nan off", id="no number"),
        pytest.param({"format_version": 2}, "a newer reconad wrote it", id="newer"),
        pytest.param({"calibration": {}}, "cannot be read: 'normal_scores'", id="thresholds"),
        pytest.param({"has_region": False}, "a graph takes a normal map and a region", id="inputs"),
    ],
)
def test_an_engine_that_fails_its_check_does_not_serve(own_copy, detector, caplog, changes, said):
    """One line says why, and PyTorch serves with its own thresholds."""
    rewrite(own_copy, **changes)

    loaded = load_detector(own_copy)

    assert loaded.engine.name == TORCH
    assert loaded.calibration == detector.calibration
    (line,) = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert line.startswith("the engine openvino does not serve: ")
    assert re.search(said, line)


def test_a_damaged_graph_does_not_serve(own_copy, caplog):
    """Neither does an engine whose witness has none."""
    for own in (own_copy, own_copy / "witness"):
        (own / "engines" / "openvino" / GRAPH_FILE).write_text("<net>")
        assert load_detector(own_copy).engine.name == TORCH

    assert "cannot be read" in caplog.text


def test_an_engine_of_narrow_numbers_serves_on_its_own_kind_of_processor(
    own_copy, caplog, monkeypatch
):
    """Others come to other numbers; float32 serves on all."""
    rewrite(own_copy, processor=["x86_64", "avx512_vnni"])
    assert load_detector(own_copy).engine.name == "openvino"
    narrow = replace(OPENVINO, is_of_one_processor=True)
    monkeypatch.setitem(engines.ENGINES, "openvino", narrow)

    assert load_detector(own_copy).engine.name == TORCH

    assert "exported on another kind of processor (x86_64 avx512_vnni; this is" in caplog.text


def test_without_openvino_pytorch_serves(exported, caplog, monkeypatch):
    """The model is none the worse, and one line says what to install."""
    monkeypatch.setattr(engines, "find_spec", lambda name: None)

    assert load_detector(exported).engine.name == TORCH

    assert "OpenVINO is not installed: pip install openvino" in caplog.text


def test_a_processor_without_bfloat16_is_told_so(detector, images, tmp_path, monkeypatch):
    """Before anything is written."""
    monkeypatch.setitem(engines.ENGINES, "openvino-bf16", replace(OPENVINO, needs="BF99"))

    with pytest.raises(ConfigError, match="cannot be exported here: this processor has no BF99"):
        export_engine(detector, engine_kind("openvino-bf16"), images, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_what_an_engine_scores_is_not_saved(exported, tmp_path):
    """Its thresholds would be taken for those of PyTorch."""
    with pytest.raises(ValueError, match="load it with the engine torch"):
        save_detector(load_detector(exported), tmp_path)


def test_an_engine_is_compared_with_pytorch(exported, detector, images):
    """On held-out and on further pictures; the clock is handed in."""
    ticks = iter(range(1000))

    figures = compare(detector, load_detector(exported), images, lambda: float(next(ticks)))

    assert (figures.engine, figures.normal, figures.anomalous) == ("openvino", 30, 10)
    assert figures.engine_auroc == figures.auroc
    assert (figures.cpu_seconds, figures.engine_cpu_seconds) == (1, 1)
    assert figures.most_p_value_move == pytest.approx(2 * (0.2 * 0.8 / 10) ** 0.5)
    assert figures.refusal is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"engine_auroc": 0.9}, "image_AUROC moves from 1.0000 to 0.9000", id="auroc"),
        pytest.param({"engine_auroc": float("nan")}, "image_AUROC moves", id="no number"),
        pytest.param(
            {"p_value_move": 0.3}, "a small p-value of a normal image moves by 0.300", id="p"
        ),
    ],
)
def test_an_engine_that_moves_scores_is_refused(exported, detector, images, changes, said):
    """The sentence has the figures."""
    figures = compare(detector, load_detector(exported), images, lambda: 0.0)

    assert said in replace(figures, **{"auroc": 1.0, "engine_auroc": 1.0} | changes).refusal


def test_pictures_may_lie_in_memory_as_they_were_decoded(exported, images):
    """Colours last, as decoders give them; the scores are the same."""
    loaded = load_detector(exported)
    decoded = np.ascontiguousarray(images.normal.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)

    found = loaded.score(decoded).pred_score

    np.testing.assert_allclose(found, loaded.score(images.normal).pred_score, rtol=1e-6)


@pytest.mark.parametrize(
    ("limit", "said", "threads"),
    [
        pytest.param("150000 100000", "", 1, id="a core and a half"),
        pytest.param("50000 100000", "", 1, id="half a core"),
        pytest.param("max 100000", "", 4, id="no limit"),
        pytest.param(None, "", 4, id="no container"),
        pytest.param("900000 100000", "", 4, id="more than there are"),
        pytest.param("50000 100000", "3", 3, id="what the variable says"),
    ],
)
def test_a_graph_takes_the_cores_that_its_container_may_use(
    tmp_path, monkeypatch, limit, said, threads
):
    """More threads than cores would wait for each other at each end of the container's share."""
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(engines, "_CPU_LIMIT", tmp_path / "cpu.max")
    if limit is not None:
        (tmp_path / "cpu.max").write_text(limit)

    assert engines.thread_count() == threads
