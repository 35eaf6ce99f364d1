"""What a training job is told from another by, and what a version of before is found by."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from flows.jobs import training_job
from flows.jobs.training_job import (
    PRETRAINING,
    TRAINING,
    BaseVersion,
    TrainingJob,
    earlier_fingerprint,
    find_version,
)
from mlflow_models.foundation import HASH_TAG, URI_TAG, Foundation
from mlflow_models.version_tags import CAUSE_TAG
from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.images.lens import Lens
from reconad_plugin.images.region import Region
from reconad_plugin.images.size import ImageSize

IMAGES = pd.DataFrame(
    {
        "key": ["incoming/a.png", "incoming/b.png"],
        "uri": ["s3://factory/a.png", "s3://factory/b.png"],
        "sha256": ["1f", "2e"],
        "split": ["train", "calibration"],
        "night": ["2024-05-01", "2024-05-01"],
        "position": ["1", "2"],
        "verdict": ["accepted", "accepted"],
    }
)
DEFECTS = IMAGES[:1].assign(sha256="3d", split="filling", beside="4c 5b")
BOX = {"x": 0.1, "y": 0.2, "width": 0.5, "height": 0.5}
LENS = Lens(64, 48, (50.0, 50.0), (31.5, 23.5), (-0.1, *[0.0] * 11), "ab")
FOUNDATION = Foundation("models:/reconad-vq-metal/1", "abc", network=None)


def job(**others):
    """A training on two images."""
    usual = {
        "product": "bolts",
        "purpose": TRAINING,
        "run_name": "train 2024-05-01",
        "settings": ProductSettings(),
        "training": TrainingSettings(steps=3),
        "images": IMAGES,
        "sources": {"s3://factory/manifest": IMAGES},
        "load": lambda: None,
    }
    return TrainingJob(**{**usual, **others})


def base(run_id="run", **tags):
    """A version to start from."""
    return BaseVersion("1", run_id, tags, load=lambda: None)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"product": "nuts"}, id="product"),
        pytest.param({"purpose": PRETRAINING}, id="purpose"),
        pytest.param({"images": IMAGES[:1]}, id="images"),
        pytest.param({"images": IMAGES[::-1]}, id="order"),
        pytest.param({"images": IMAGES.assign(split="train")}, id="sides"),
        pytest.param({"images": IMAGES.assign(night="2024-05-02")}, id="nights"),
        pytest.param({"settings": ProductSettings(seed=1)}, id="seed"),
        pytest.param({"settings": ProductSettings(model="vae")}, id="model"),
        pytest.param({"settings": ProductSettings(target_fpr=0.1)}, id="rate of false alarms"),
        pytest.param({"training": TrainingSettings(steps=4)}, id="steps"),
        pytest.param({"textures": {"cloth.png": "3d"}}, id="textures"),
        pytest.param({"fillings": DEFECTS}, id="defects"),
        pytest.param({"base": base()}, id="base"),
        pytest.param({"foundation": FOUNDATION}, id="foundation"),
        pytest.param({"cause": "process"}, id="cause"),
        pytest.param({"image_size": ImageSize(80, 192)}, id="shape of the pictures"),
        pytest.param({"picture_size": ImageSize(208, 512)}, id="windows"),
        pytest.param({"region": Region({"": np.eye(4, dtype=np.bool_)})}, id="region"),
        pytest.param({"lens": LENS}, id="lens"),
        pytest.param({"lens": replace(LENS, sha256="cd")}, id="file of a lens"),
    ],
)
def test_what_decides_the_weights_decides_the_fingerprint(other):
    """Another ingredient, another job."""
    assert job(**other).fingerprint != job().fingerprint
    assert job(**other).fingerprint == job(**other).fingerprint


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"run_name": "again"}, id="name of the run"),
        pytest.param({"tags": {"reconad.night": "2024-05-01"}}, id="tags"),
        pytest.param({"images": IMAGES.assign(uri="moved")}, id="where images are"),
        pytest.param({"settings": ProductSettings(false_alarms_per_year=2)}, id="the watch's own"),
        pytest.param({"image_size": ImageSize.square(128)}, id="a shape that is square"),
        pytest.param({"training": TrainingSettings(steps=3, textures="copy")}, id="folder"),
        pytest.param({"settings": ProductSettings(regions=[BOX])}, id="boxes that are drawn"),
        pytest.param({"settings": ProductSettings(lens="moved.yml")}, id="where a lens's file is"),
    ],
)
def test_nothing_else_does(other):
    """The same job under another name is not done twice."""
    assert job(**other).fingerprint == job().fingerprint


def test_positions_count_where_the_light_is_learnt():
    """Light is brought from picture to picture by position."""
    first, other = (
        job(cause="light", images=IMAGES.assign(position=position)) for position in ("1", "2")
    )

    assert first.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"fillings": DEFECTS.assign(sha256="4c")}, id="another defect"),
        pytest.param({"fillings": pd.concat([DEFECTS, DEFECTS])}, id="one more"),
        pytest.param({"fillings": DEFECTS.assign(position="2")}, id="elsewhere"),
        pytest.param({"fillings": DEFECTS.assign(beside="4c")}, id="beside other images"),
        pytest.param({"images": IMAGES.assign(position="2")}, id="held against other images"),
    ],
)
def test_the_cuts_of_defects_decide_the_fingerprint(other):
    """What they show follows from the defects and from normal images of their positions."""
    usual = {"fillings": DEFECTS}

    assert job(**{**usual, **other}).fingerprint != job(**usual).fingerprint
    assert earlier_fingerprint(job(**usual)) != earlier_fingerprint(job())


@pytest.mark.parametrize("model", ["ae", "draem"])
def test_positions_count_where_each_has_a_normal_map(model):
    """They do where contexts are asked for, and where there are several."""
    settings = ProductSettings(model=model, contexts=True)
    told = job(settings=settings)
    none, one = (
        job(settings=settings, images=IMAGES.assign(position=position)) for position in ("", "3")
    )

    unasked = job(settings=ProductSettings(model=model))
    assert (told.fingerprint != none.fingerprint) == (model == "ae")
    assert none.fingerprint == one.fingerprint == unasked.fingerprint


def test_base_is_its_run():
    """An alias that moved names another base."""
    assert job(base=base("run")).fingerprint != job(base=base("other")).fingerprint


def test_images_of_a_folder_have_no_night():
    """By hand there are no nights, and the fingerprint is one all the same."""
    by_hand = IMAGES[["uri", "sha256", "split"]]

    assert job(images=by_hand).fingerprint == job(images=by_hand.copy()).fingerprint


def test_version_of_before_is_found(monkeypatch):
    """A night of a time when fingerprints had no format, run again, trains nothing anew."""
    asked = []
    monkeypatch.setattr(
        training_job.registry, "find_by_fingerprint", lambda *names: asked.append(names)
    )

    find_version(job())

    square, earlier = job().square_fingerprint, earlier_fingerprint(job())
    assert asked == [("bolts", job().fingerprint, square, earlier)]


@pytest.mark.parametrize(
    ("asked", "fingerprint"),
    [
        pytest.param(
            job(), "e7afe9db8e0385e24e735db2e1eeb06f0c55a536b2fd73639e6bb79c55f870f6", id="training"
        ),
        pytest.param(
            job(purpose="finetune", base=base(), cause="light", foundation=None),
            "1e2992e36b12b308671aa0a3212a988a91bc001cfe7b5a098b333bd0166594c0",
            id="fine-tuning",
        ),
        pytest.param(
            job(textures={"a.png": "4c"}, foundation=FOUNDATION),
            "d1d9bd9d2970d782b28b4f7091b0e7e009bbf9c3bbfe84191098a570bae82007",
            id="foundation",
        ),
        pytest.param(
            job(product="vq-metal", purpose=PRETRAINING),
            "63bd58aeed9d01f4e4d9f3f05d787d449ba215754e8c151f3da7c1a66bd2e8e6",
            id="pretraining",
        ),
    ],
)
def test_earlier_fingerprints_are_as_they_were(asked, fingerprint):
    """They were taken from reconad before fingerprints had a format."""
    assert earlier_fingerprint(asked) == fingerprint


def test_version_says_what_it_stands_on():
    """A foundation that is given, or that of the base."""
    given = {URI_TAG: FOUNDATION.uri, HASH_TAG: FOUNDATION.sha256}

    assert job().foundation_tags == {}
    assert job(foundation=FOUNDATION).foundation_tags == given
    assert job(base=base(**given)).foundation_tags == given


def test_record_lists_the_defects_that_fill():
    """Beside the images, as what they are, so that they never judge the version."""
    record = job(fillings=DEFECTS).record({}, {}, [], {})

    assert record.images["sha256"].tolist() == ["1f", "2e", "3d"]
    assert record.images["split"].tolist() == ["train", "calibration", "filling"]


def test_record_lists_each_image_once():
    """Also of one that is repeated, so that it weighs more."""
    repeated = job(images=pd.concat([IMAGES, IMAGES]))

    record = repeated.record({"x": 1}, {}, [], {}, {"own": "tag"})

    assert record.images["sha256"].tolist() == ["1f", "2e"]
    assert record.params == {"purpose": "train", "x": 1}
    assert record.tags == {
        "reconad.request": repeated.fingerprint,
        "reconad.purpose": "train",
        "own": "tag",
    }


def test_why_a_version_was_trained_may_be_noted_alone():
    """It is the same training: what was trained for another reason is found."""
    noted = job(tags={CAUSE_TAG: "none"}).noting("golden_floor")

    assert noted.fingerprint == job().fingerprint
    assert noted.record({}, {}, [], {}).tags[CAUSE_TAG] == "golden_floor"
