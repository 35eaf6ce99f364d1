"""Two models in one version: their scores on one scale, and what becomes of them in files."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from flows.jobs.training_job import TRAINING, TrainingJob
from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.fusion import NormalLaw, fuse_maps, fuse_scores
from reconad_plugin.detector.persistence import (
    DETECTOR_FILE,
    WITNESS_FOLDER,
    load_detector,
    save_detector,
)
from reconad_plugin.errors import ConfigError, ModelFormatError, NotEnoughImagesError
from reconad_plugin.images.geometry import resize
from reconad_plugin.images.region import PRODUCT as PRODUCT_MASK
from reconad_plugin.images.region import Region
from reconad_plugin.images.size import settle_size
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages

pytestmark = pytest.mark.usefixtures("tiny_models")

SIZE_PX = 32
PRODUCT = ProductSettings(
    model="ae", witness="fre", features="random", image_size_px=SIZE_PX, target_fpr=0.1
)
A_FEW_STEPS = TrainingSettings(steps=3, batch_size=4)
IMAGES = pd.DataFrame({"sha256": ["1f"], "split": ["train"], "night": ["2024-05-01"]})


@pytest.fixture(scope="module")
def normal(make_normal):
    """Normal images by what they are for."""
    return NormalImages(make_normal(16, 1), make_normal(20, 2), make_normal(4, 3))


@pytest.fixture(scope="module")
def fused(normal, tiny_models):
    """A detector with a witness, and its report."""
    return fit_detector(normal, PRODUCT, A_FEW_STEPS)


def test_rarity_is_the_logarithm_of_the_law_s_tail():
    """Against scipy's logistic law, and fitted to draws of it."""
    scores = np.linspace(-3, 40, 50)

    found = NormalLaw(1.5, 0.7).rarity(scores)
    fitted = NormalLaw.fit(stats.logistic.rvs(1.5, 0.7, 20_000, random_state=0))

    np.testing.assert_allclose(found, -stats.logistic.logsf(scores, 1.5, 0.7), rtol=1e-10)
    assert (fitted.median, fitted.scale) == (
        pytest.approx(1.5, abs=0.03), pytest.approx(0.7, rel=0.02)
    )  # fmt: skip


def test_scores_that_are_all_alike_divide_by_nothing():
    """One that is not stands out, and all are finite."""
    rarity = NormalLaw.fit(np.full(20, 3.0)).rarity(np.array([3.0, 3.1]))

    assert np.isfinite(rarity).all()
    assert rarity[1] > 100 * rarity[0]


def scores_of(count, seed):
    """Scores of normal images by two networks that agree somewhat, on scales of their own."""
    random = np.random.default_rng(seed)
    common, own = random.normal(size=count), random.normal(size=(2, count))
    return np.exp(0.5 * (0.5 * common + own[0])), 100 + 7 * (0.5 * common + own[1])


@pytest.mark.parametrize("count", [10, 20, 100])
def test_new_normal_images_are_as_often_above_as_the_images_vouch_for(count):
    """The images that calibrate the sum are those that the laws are of."""
    above, vouched = [], []
    for seed in range(200):
        held_out, new = scores_of(count, seed), scores_of(100, seed + 1000)
        alone = [calibrate(each, 0.05) for each in held_out]
        both = calibrate(fuse_scores(alone, held_out), 0.05)
        above.append(np.mean(fuse_scores(alone, new) > both.image_threshold))
        vouched.append(both.supported_fpr)

    assert 0.8 < np.mean(above) / np.mean(vouched) < 1.4  # few images say little of their laws


def test_the_larger_map_counts_in_units_of_its_own_threshold():
    """By hand: 0.5 of 1 against 6 of 4."""
    normal = [calibrate([0.1, 0.2], 0.3, [0.5, 1.0]), calibrate([1.0, 2.0], 0.3, [3.0, 4.0])]
    maps = [np.array([[[0.5, 2.0]]], np.float32), np.array([[[6.0, 1.0]]], np.float32)]

    assert fuse_maps(normal, maps).tolist() == [[[1.5, 2.0]]]


def test_what_one_network_alone_sees_is_found(fused, normal, plant_defect):
    """The autoencoder has hardly learnt; its witness has, and the version answers with one
    number."""
    detector, report = fused
    defective = plant_defect(normal.judge)

    scores = detector.score(defective)
    decided = detector.decide(defective, scores)

    assert decided.pred_label.all()
    matched = detector.score_matched(defective).pred_score
    assert (matched > detector.matched_calibration.image_threshold).all()
    assert (scores.anomaly_map.max((1, 2)) > decided.pixel_threshold).all()
    assert len(detector.calibration.normal_scores) == 20  # that both held out
    assert len(detector.witness.detector.calibration.normal_scores) == 20 + 16
    assert report.steps == 3


def test_a_version_of_two_comes_back_from_its_files(fused, normal, tmp_path):
    """With scores, maps and thresholds; another format, so that a reconad of before refuses it."""
    detector, _ = fused
    save_detector(detector, tmp_path)

    again = load_detector(tmp_path)

    first, second = detector.score(normal.judge), again.score(normal.judge)
    np.testing.assert_allclose(second.pred_score, first.pred_score, rtol=1e-5)
    np.testing.assert_allclose(second.anomaly_map, first.anomaly_map, rtol=1e-4, atol=1e-5)
    assert again.calibration == detector.calibration
    assert again.witness.first == detector.witness.first
    assert json.loads((tmp_path / DETECTOR_FILE).read_text())["format_version"] == 2


@pytest.fixture(scope="module")
def large_pictures(normal):
    """The normal images, twice as high and wide."""
    splits = (normal.train, normal.calibration, normal.judge)
    return NormalImages(*(each.repeat_interleave(2, 2).repeat_interleave(2, 3) for each in splits))


@pytest.fixture(scope="module")
def with_larger_witness(large_pictures, tiny_models):
    """A detector whose witness sees more of the pictures, its region, and its pictures."""
    mask = np.zeros((2 * SIZE_PX, 2 * SIZE_PX), np.bool_)
    mask[:, SIZE_PX // 2 :] = True
    region, larger = Region({PRODUCT_MASK: mask}), {"witness_image_size_px": 2 * SIZE_PX}
    asked = PRODUCT.model_copy(update=larger)
    detector, _ = fit_detector(large_pictures, asked, A_FEW_STEPS, region=region)
    return detector, region, large_pictures


def test_a_witness_may_see_larger_pictures(with_larger_witness, tmp_path):
    """Each network has its own size and the version's maps that of its pictures, outside the region
    0; both are as they are alone, and come back from files."""
    detector, region, pictures = with_larger_witness
    shown = pictures.judge.numpy()
    alone = replace(
        detector,
        witness=None,
        image_size_px=detector.shrunk_to,
        shrunk_to=None,
        region=region.at(detector.shrunk_to),
        self_test=None,
    )

    scores, first = detector.score(shown), alone.score(resize(shown, detector.shrunk_to))
    save_detector(detector, tmp_path)
    again = load_detector(tmp_path)

    assert (detector.network_size_px.setting, detector.image_size_px.setting) == (32, 64)
    assert detector.witness.detector.network_size_px.setting == 64
    assert scores.anomaly_map.shape == (4, 64, 64)
    assert scores.anomaly_map[:, :, : SIZE_PX // 2].max() == 0
    assert scores.anomaly_map.max() > 0
    second = detector.witness.detector.score(shown)
    fused = detector.witness.join(replace(first, anomaly_map=second.anomaly_map), second)
    np.testing.assert_allclose(scores.pred_score, fused.pred_score, rtol=1e-5)
    np.testing.assert_array_equal(again.score(shown).pred_score, scores.pred_score)
    assert json.loads((tmp_path / DETECTOR_FILE).read_text())["format_version"] == 5


def test_windows_hold_for_both(large_pictures, tiny_models):
    """A witness of a model in windows sees windows of the same size."""
    asked = PRODUCT.model_copy(update={"windows": True})

    detector, _ = fit_detector(large_pictures, asked, A_FEW_STEPS)

    both = detector, detector.witness.detector
    assert [each.image_size_px.setting for each in both] == [2 * SIZE_PX] * 2
    assert [each.network_size_px.setting for each in both] == [SIZE_PX] * 2
    scores = detector.score(large_pictures.judge.numpy())
    assert np.isfinite(scores.pred_score).all()
    assert scores.anomaly_map.shape == (4, *detector.map_size_px.shape)


def test_a_version_with_a_larger_witness_is_fine_tuned(with_larger_witness):
    """It keeps both sizes."""
    detector, region, pictures = with_larger_witness
    asked = PRODUCT.model_copy(update={"witness_image_size_px": 2 * SIZE_PX})

    tuned, _ = fit_detector(pictures, asked, A_FEW_STEPS, base=detector, region=region)

    assert (tuned.shrunk_to, tuned.image_size_px) == (detector.shrunk_to, detector.image_size_px)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"witness": None}, "witness_image_size_px belongs to a witness"),
        ({"windows": True}, "leave windows out"),
        ({"witness_image_size_px": 7}, "must be a whole number from 32"),
    ],
)
def test_what_a_witness_cannot_see_is_refused(asked, said):
    """Each has its sentence."""
    given = {"model": "ae", "witness": "fre", "witness_image_size_px": 64} | asked

    with pytest.raises(ValueError, match=said):
        ProductSettings(**given)


def test_pictures_are_brought_to_what_the_witness_sees():
    """In their own shape; to no other size where it sees what the model does, and never to less."""
    asked = ProductSettings(model="ae", witness="fre", witness_image_size_px=256)
    size, pictures = settle_size(128, [(400, 300)]), [(400, 300)]

    assert str(asked.size_of_pictures(size, pictures)) == "224x288"
    same = asked.model_copy(update={"witness_image_size_px": 128})
    assert same.size_of_pictures(size, pictures) is None
    with pytest.raises(ConfigError, match="raise witness_image_size_px"):
        same.size_of_pictures(settle_size(256, pictures), pictures)


def test_a_version_without_a_witness_is_as_before(tiny_detector, tmp_path):
    """It has no word of one, so that a reconad of before reads it."""
    save_detector(tiny_detector, tmp_path)

    description = json.loads((tmp_path / DETECTOR_FILE).read_text())
    assert description["format_version"] == 1
    assert "first_calibration" not in description
    assert not (tmp_path / WITNESS_FOLDER).exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(
            lambda folder: (folder / WITNESS_FOLDER / DETECTOR_FILE).unlink(),
            "a saved detector is .*witness",
            id="without its file",
        ),
        pytest.param(
            lambda folder: rewrite(folder, first_calibration=None),
            "does not fit together",
            id="without the first one's scores",
        ),
        pytest.param(
            lambda folder: rewrite(folder / WITNESS_FOLDER, image_size_px=64),
            "its models take 32 px and 64 px",
            id="of another size",
        ),
    ],
)
def test_a_broken_witness_is_refused(fused, tmp_path, spoil, said):
    """Half a version would score otherwise than its thresholds say."""
    save_detector(fused[0], tmp_path)
    spoil(tmp_path)

    with pytest.raises(ModelFormatError, match=said):
        load_detector(tmp_path)


def rewrite(folder, **changes):
    """Change entries of a saved description."""
    path = folder / DETECTOR_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_fine_tuning_goes_on_with_both(fused, normal, make_normal):
    """The first descends further, the witness is fitted anew to the new images, with the features
    that the version has."""
    detector, _ = fused
    brighter = NormalImages(make_normal(16, 8) // 2, normal.calibration // 2, normal.judge)

    tuned, _ = fit_detector(brighter, PRODUCT, A_FEW_STEPS, base=detector)

    theirs, ours = (each.witness.detector.engine.network for each in (detector, tuned))
    assert not torch.equal(theirs.mean, ours.mean)
    assert torch.equal(theirs.features.stem[0].weight, ours.features.stem[0].weight)
    old, new = (next(iter(each.engine.network.parameters())) for each in (detector, tuned))
    assert not torch.equal(old, new)


@pytest.mark.parametrize("side", ["base", "settings"])
def test_fine_tuning_keeps_the_models_of_its_base(fused, normal, side):
    """A witness neither comes nor goes."""
    alone = PRODUCT.model_copy(update={"witness": None})
    base = replace(fused[0], witness=None) if side == "base" else fused[0]
    product = PRODUCT if side == "base" else alone

    with pytest.raises(ConfigError, match=r"ae at 32 px \(.*\) with fre as its witness.*train fr"):
        fit_detector(normal, product, A_FEW_STEPS, base=base)


def test_too_few_held_out_images_are_told_before_the_training(normal):
    """The law of their scores would be a guess."""
    few = NormalImages(normal.train, normal.calibration[:9], normal.judge)

    with pytest.raises(NotEnoughImagesError, match="at least 10 held-out normal images; got 9"):
        fit_detector(few, PRODUCT, TrainingSettings(steps=10**6))


def test_images_of_too_few_parts_are_not_held_out_by_turns(normal):
    """So they are none that a law could be of."""
    parts = tuple("aaaaabbbbbcccccc")
    few = NormalImages(normal.train, normal.calibration[:4], normal.judge, parts, tuple("dddd"))
    product = ProductSettings(
        model="fre", witness="texture", features="random", image_size_px=SIZE_PX
    )

    with pytest.raises(
        NotEnoughImagesError, match=r"held-out normal images; got 4: .* leave the w"
    ):
        fit_detector(few, product, A_FEW_STEPS)


def test_a_fine_tuning_with_too_few_images_says_what_would_do(fused, normal):
    """By hand no witness can be left out of it."""
    few = NormalImages(normal.train, normal.calibration[:9], normal.judge)

    with pytest.raises(NotEnoughImagesError, match=r"got 9: .*, or train from scratch"):
        fit_detector(few, PRODUCT, A_FEW_STEPS, base=fused[0])


@pytest.mark.parametrize(
    ("model", "witness", "said"),
    [
        pytest.param("fre", "fre", "another model than the first; got fre twice", id="itself"),
        pytest.param(
            "ae", "ganomaly", "trained in seconds, fre or texture; got 'ganomaly'", id="slow"
        ),
        pytest.param("ae", "wood", "trained in seconds, fre or texture; got 'wood'", id="unknown"),
    ],
)
def test_what_can_be_no_witness_is_refused(model, witness, said):
    """By the settings, and so before any work."""
    with pytest.raises(ValueError, match=said):
        ProductSettings(model=model, witness=witness)


def test_features_are_given_to_the_witness_too():
    """Where it takes some."""
    assert ProductSettings(model="ae", witness="fre", features="random").of_witness.model == "fre"
    with pytest.raises(ValueError, match="features belong to fre, texture; got them with ae"):
        ProductSettings(model="ae", features="random")


def test_fingerprint_counts_a_witness_and_its_features(tmp_path):
    """Another witness, or weights of another content, is another training."""
    weights = tmp_path / "weights.pth"

    def fingerprint(content=b"a", **settings):
        weights.write_bytes(content)
        job = {"product": "bolts", "purpose": TRAINING, "run_name": "x", "sources": {}}
        product = ProductSettings(**settings)
        return TrainingJob(
            **job, settings=product, training=product.train, images=IMAGES, load=lambda: None
        ).fingerprint

    with_one = {"witness": "fre", "features": str(weights)}
    found = {fingerprint(), fingerprint(**with_one), fingerprint(b"b", **with_one)}

    assert len(found) == 3
