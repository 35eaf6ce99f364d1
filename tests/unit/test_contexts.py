"""Each camera position, or variant of a product, has a normal map of its own."""

import base64
import json
import logging
import warnings
from dataclasses import replace

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from mlflow_models import flavor
from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.contexts import (
    LEAST_IMAGES,
    MOST_CONTEXTS,
    ContextSums,
    References,
    choose_contexts,
    describe_details,
    scores_in_context,
)
from reconad_plugin.detector.normal_map import MapSums
from reconad_plugin.detector.persistence import DETECTOR_FILE, load_detector, save_detector
from reconad_plugin.detector.prediction import predict_contents
from reconad_plugin.errors import ModelFormatError
from reconad_plugin.images.features import LUMA_WEIGHTS
from reconad_plugin.metrics.intervals import clopper_pearson
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages, oversample, positions_told
from tests.factory import to_png

pytestmark = pytest.mark.usefixtures("tiny_models")

SIZE_PX = 32
LEFT, RIGHT = "left", "right"
SPOTS = {LEFT: (slice(6, 12), slice(4, 10)), RIGHT: (slice(20, 26), slice(22, 28))}


def pictures(position, count, seed, spot=None, strength=0.3):
    """(N, 3, 32, 32) of a part with an edge where this position has it, and a reflex that comes and
    goes where its own is; with a ``spot`` that does not belong there."""
    random = np.random.default_rng(seed)
    images = np.full((count, 3, SIZE_PX, SIZE_PX), 0.4)
    images[:, :, :, 14 if position == LEFT else 18 :] += 0.2
    rows, columns = SPOTS[position]
    images[:, :, rows, columns] += random.uniform(0.2, 0.4, (count, 1, 1, 1))
    if spot is not None:
        images[:, :, spot[0], spot[1]] += strength
    images += random.normal(0, 0.02, images.shape)
    return torch.from_numpy((images.clip(0, 1) * 255).astype(np.uint8))


def of_both(count, seed):
    """As many pictures of each position, and the position of each."""
    images = torch.cat([pictures(each, count, seed + n) for n, each in enumerate(SPOTS)])
    return images, tuple(each for each in SPOTS for _ in range(count))


def fitted(model, are_told, steps=30):
    """A detector of pictures of two positions, whose network has learnt next to nothing."""
    (train, told), (held_out, its) = of_both(20, 1), of_both(8, 11)
    positions = (told, its) if are_told else ((), ())
    images = NormalImages(train, held_out, train[:0], (), (), *positions)
    product = ProductSettings(
        model=model,
        image_size_px=SIZE_PX,
        position_pattern="_(left|right)",
        contexts=True,
        features="random" if model == "fre" else None,
    )
    return fit_detector(images, product, TrainingSettings(steps=steps))[0]


@pytest.fixture(scope="module")
def detector(tiny_models):
    """An autoencoder that knows both positions."""
    return fitted("ae", are_told=True)


@pytest.mark.parametrize(("model", "strength"), [("ae", 0.4), ("vae", 0.4), ("fre", 0.15)])
def test_a_reflex_and_a_defect_are_told_apart_by_position_alone(model, strength):
    """What is a reflex at the left is a defect at the right, at the very same place."""
    normal, told = of_both(10, 21)
    defective = pictures(RIGHT, 10, 31, SPOTS[LEFT], strength)

    def share_found(detector, positions):
        scores = detector.score(normal, positions and told).pred_score
        found = detector.score(defective, positions and [RIGHT] * 10).pred_score
        return np.mean(found > scores.max())

    with_contexts = fitted(model, are_told=True)

    assert share_found(with_contexts, True) == 1
    assert share_found(fitted(model, are_told=False), None) <= 0.6


def test_an_image_has_no_say_in_its_own_score():
    """By hand: it is held against the mean of the others of its context."""
    random = np.random.default_rng(3)
    maps = random.gamma(9, 0.01, (20, 16, 16)).astype(np.float32)
    contexts = [LEFT] * 9 + [RIGHT] * 9 + ["", ""]

    _, left = scores_in_context(ContextSums.of(maps, contexts), maps, maps, contexts)

    for index, context in enumerate(contexts):
        is_other = np.arange(20) != index
        others = [name for name, kept in zip(contexts, is_other, strict=True) if kept]
        expected = ContextSums.of(maps[is_other], others).normal_map(context)
        if context:
            mine = is_other & (np.array(contexts) == context)
            np.testing.assert_allclose(expected.mean, maps[mine].mean(0), rtol=1e-5)
        shown = expected.deviations(maps[index])
        np.testing.assert_allclose(left[index], shown, rtol=1e-3, atol=1e-3)


def test_new_normal_images_score_as_those_that_calibrate():
    """Over many draws as many new ones lie above the threshold as the images vouch for."""
    above, vouched, contexts = [], [], [LEFT] * 8 + [RIGHT] * 12
    mean = np.random.default_rng(0).uniform(0, 0.2, (2, 16, 16))[[0] * 8 + [1] * 12]
    for seed in range(100):
        random = np.random.default_rng(seed)
        held_out, new = (
            (mean + random.gamma(9, 0.01, mean.shape)).astype(np.float32) for _ in range(2)
        )
        sums = ContextSums.of(held_out, contexts)
        calibration = calibrate(scores_in_context(sums, held_out, held_out, contexts)[0], 0.2)
        for image, context in zip(new, contexts, strict=True):
            left = sums.normal_map(context).deviations(image)
            above.append(float(left.max()) > calibration.image_threshold)
        vouched.append(calibration.supported_fpr)

    assert np.mean(above) == pytest.approx(np.mean(vouched), abs=0.03)


def test_without_contexts_it_is_the_one_map():
    """Not a digit differs from the normal map of all images."""
    maps = np.random.default_rng(5).gamma(9, 0.01, (12, 16, 16)).astype(np.float32)

    one = ContextSums.of(maps, [""] * 12).normal_map("")

    assert np.array_equal(one.mean, MapSums.of(maps).normal_map().mean)


@pytest.mark.parametrize(
    ("learnt", "held_out", "parts", "chosen"),
    [
        ([LEFT] * 7 + [RIGHT] * 4, [LEFT, RIGHT], (), (LEFT,)),
        ([LEFT] * 6 + [RIGHT] * 6, [LEFT, LEFT, RIGHT, RIGHT], ("a", "a", "b", "c"), (RIGHT,)),
        ([LEFT] * 30, [LEFT] * 10, (), ()),
        (["", ""] * 20, [""] * 10, (), ()),
        ([LEFT] * 4 + [RIGHT] * 3 + ["third"] * 3, [LEFT, RIGHT, "third"], (), ()),
    ],
    ids=["one has enough", "of other parts", "one position", "none told", "as the demo's: too few"],
)
def test_which_contexts_have_a_map(learnt, held_out, parts, chosen):
    """Seven other images at least are what one is held against."""
    assert choose_contexts(learnt, held_out, parts) == chosen


def test_contexts_are_bounded():
    """The ones with the most images stay, and a warning says so."""
    learnt = [f"{n:03}" for n in range(MOST_CONTEXTS + 1) for _ in range(LEAST_IMAGES + (n > 0))]

    with pytest.warns(UserWarning, match=r"at most 100 contexts .* 101 could .* position_pattern"):
        chosen = choose_contexts(learnt, [])

    assert len(chosen) == MOST_CONTEXTS
    assert "000" not in chosen


def test_positions_are_recognised(detector):
    """Normal pictures are known by sight, dim ones too; another picture is of none."""
    normal, told = of_both(10, 41)
    dim = (normal.float() * 0.6).to(torch.uint8)
    other = torch.from_numpy(np.random.default_rng(1).integers(0, 255, (5, 3, 32, 32), np.uint8))

    assert detector.score(normal).contexts == told
    assert detector.score(dim).contexts == told
    assert detector.score(other).contexts == ("",) * 5


def test_exposures_are_told_and_not_recognised():
    """No picture tells them apart, and a wrong context is worse than none."""
    part = pictures(LEFT, 24, 42).numpy()
    dim = (part[12:] * 0.6).astype(np.uint8)
    index = np.repeat([0, 1], 12)

    with pytest.warns(UserWarning, match=r"must be told .* \d+% of the images .* give `context`"):
        references = References.fit(describe_details(np.concatenate([part[:12], dim])), index)

    assert references.nearest(part).tolist() == [-1] * 24
    both, _ = of_both(12, 43)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known = References.fit(describe_details(both.numpy()), np.repeat([0, 1], 12))
    assert known.nearest(both.numpy()).tolist() == [0] * 12 + [1] * 12


def test_what_is_told_goes_before_what_is_seen(detector):
    """And what is told of some alone leaves the others to be recognised."""
    left = pictures(LEFT, 3, 51)

    scores = detector.score(left, [RIGHT, None, LEFT])

    assert scores.contexts == (RIGHT, LEFT, LEFT)
    assert scores.pred_score[0] > scores.pred_score[2]


def test_an_unknown_context_is_said_once(detector, caplog):
    """Its images are held against the normal map of all."""
    images = pictures(LEFT, 2, 52)
    common = replace(detector, contexts=None).score(images)

    with caplog.at_level(logging.WARNING):
        found = [detector.score(images, ["new\n", "new\n"]) for _ in range(2)]

    assert found[0].contexts == ("", "")
    assert np.array_equal(found[0].pred_score, common.pred_score)
    assert [record.getMessage() for record in caplog.records] == [
        r"the context new\n has no normal map of its own, and its images are held against the one "
        "of all contexts; known are left, right: correct its name, or train on 8 normal images of "
        "it"
    ]


def test_each_context_has_its_honest_interval(detector):
    """Of its own held-out images: few of them say little."""
    contexts = detector.contexts

    assert contexts.held_out == (8, 8)
    assert contexts.fpr_intervals == tuple(clopper_pearson(each, 8) for each in contexts.above)
    few = replace(contexts, held_out=(4, 0), above=(1, 0), parts=(), own_thresholds=(1.25, 1.0))
    assert few.false_alarms == (
        "left: threshold 1.25 of the common one, 1 of 4 held-out images above it, 1 to 81 %; "
        "right: threshold 1.00 of the common one, 0 of 0 held-out images above it, 0 to 100 %"
    )
    of_two_parts = replace(few, parts=(2, 0))
    assert of_two_parts.fpr_intervals[0] == clopper_pearson(1, 4, 2)


def test_a_saved_version_keeps_its_contexts(detector, tmp_path):
    """Byte for byte, with the pattern that finds them in names."""
    images, _ = of_both(3, 61)
    save_detector(detector, tmp_path / "detector")

    loaded = load_detector(tmp_path / "detector")

    assert loaded.contexts.pattern == "_(left|right)"
    assert loaded.contexts.own_thresholds == detector.contexts.own_thresholds
    assert loaded.contexts.fpr_intervals == detector.contexts.fpr_intervals
    assert loaded.score(images).contexts == detector.score(images).contexts
    assert np.array_equal(loaded.score(images).pred_score, detector.score(images).pred_score)


def test_a_version_of_before_has_one_threshold(detector, tmp_path):
    """Its maps are divided by nothing; and a version of now that lacks a threshold is refused."""
    images, told = of_both(3, 62)
    wide = replace(detector.contexts, own_thresholds=(1.0, 2.0))
    save_detector(replace(detector, contexts=wide), tmp_path)
    file = tmp_path / DETECTOR_FILE
    saved = json.loads(file.read_text())
    own = load_detector(tmp_path).score(images, told).pred_score

    def rewrite(version, **changes):
        kept = {name: each for name, each in saved["contexts"].items() if changes.get(name, 1)}
        file.write_text(json.dumps(saved | {"format_version": version, "contexts": kept | changes}))

    rewrite(1, own_thresholds=[], parts=[])
    common = load_detector(tmp_path).score(images, told).pred_score

    assert saved["format_version"] == 4
    np.testing.assert_allclose(common, own * [1, 1, 1, 2, 2, 2], rtol=1e-5)
    for wrong in ([1.0], [1.0, 0.0], [1.0, float("nan")]):
        rewrite(4, own_thresholds=wrong)
        with pytest.raises(ModelFormatError, match="each context has one threshold"):
            load_detector(tmp_path)


def test_a_row_tells_its_context(detector):
    """One that is no text spoils its own row alone."""
    contents = [lambda: to_png(pictures(LEFT, 1, 71)[0].permute(1, 2, 0).numpy())] * 4

    rows = predict_contents(detector, contents, "1", contexts=[LEFT, None, float("nan"), 7])

    assert [row.context for row in rows] == [LEFT, LEFT, LEFT, None]
    assert rows[3].error == (
        "bad_context: a context must be text, the name of a camera position or a variant; got int: "
        "write it in quotes, or leave it out"
    )
    assert rows[0].pred_score == rows[1].pred_score


def test_a_request_may_have_a_column_of_contexts(detector, tmp_path):
    """Served by MLflow with it and without; the answer names what was told or seen."""
    flavor.save_model(detector, str(tmp_path / "model"))
    served = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    png = to_png(pictures(LEFT, 1, 81)[0].permute(1, 2, 0).numpy())
    image = base64.b64encode(png).decode()

    seen = served.predict(pd.DataFrame({"image": [image]}))
    told = served.predict(pd.DataFrame({"image": [image] * 3, "context": [RIGHT, None, LEFT]}))

    assert seen["context"].tolist() == [LEFT]
    assert told["context"].tolist() == [RIGHT, LEFT, LEFT]
    assert told["pred_score"][0] > told["pred_score"][1]
    assert told["pred_score"][1] == pytest.approx(seen["pred_score"][0], rel=1e-4)


def test_a_version_without_contexts_is_served_as_before(detector, tmp_path):
    """No column more in, and none more out."""
    flavor.save_model(replace(detector, contexts=None), str(tmp_path / "model"))
    served = mlflow.pyfunc.load_model(str(tmp_path / "model"))

    assert served.metadata.signature == flavor.SIGNATURE
    assert "context" not in served.predict(pd.DataFrame({"image": ["no picture"]}))


def test_a_repeated_image_has_one_say():
    """A fine-tuning repeats new images; what is repeated tells no position."""
    old, new = (
        pd.DataFrame({"sha256": names, "position": [LEFT] * len(names)})
        for names in (["a", "b", "c", "d"], ["e", "f"])
    )

    assert positions_told(oversample(old, new)) == (LEFT,) * 6 + ("",) * 2
    assert positions_told(old.assign(position="")) == positions_told(old[["sha256"]]) == ()


@pytest.mark.parametrize("model", ["ae", "fre"])
def test_one_split_may_tell_no_position(model):
    """Those of the other still have their maps; a ``fre`` holds its training images out as well."""
    train, told = of_both(20, 91)
    images = NormalImages(train, pictures(LEFT, 4, 95), train[:0], train_positions=told)
    features = "random" if model == "fre" else None
    product = ProductSettings(model=model, image_size_px=SIZE_PX, contexts=True, features=features)

    contexts = fit_detector(images, product, TrainingSettings(steps=1))[0].contexts

    assert contexts.names == (LEFT, RIGHT)
    assert contexts.held_out == ((20, 20) if model == "fre" else (0, 0))


@pytest.mark.parametrize("side", [32, 64, 90], ids=["smaller", "as large", "larger"])
def test_details_are_those_of_pytorch(side):
    """Pooled to 64 x 64, less the mean around each, in one contrast."""
    images = np.random.default_rng(0).integers(0, 256, (3, 3, side, side + 7), np.uint8)

    found = describe_details(images)

    small = F.adaptive_avg_pool2d(torch.from_numpy(images).float(), 64)
    luma = (small * torch.from_numpy(LUMA_WEIGHTS).view(3, 1, 1)).sum(1, keepdim=True)
    fine = (luma - F.avg_pool2d(luma, 5, 1, 2, count_include_pad=False))[:, 0]
    expected = fine / fine.std((1, 2), keepdim=True)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-4)
