"""Two models in one version at night: trained, served, and scored with as one."""

import base64
from datetime import date

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient

from flows.nightly import nightly
from mlflow_models import flavor, registry
from tests.factory import Factory, normal_picture, to_png, with_scratch

NIGHT = date(2026, 4, 1)
IMAGES = 60  # a fifth of them calibrates, ten at least


def test_nightly_run_trains_and_serves_two_models_as_one(factory: Factory) -> None:
    """The version scores the next night, and MLflow serves the number that the night has."""
    factory.train_for(steps=30)
    settings = factory.settings.read_text()
    witness = 'model = "ae"\nwitness = "fre"\nwitness_image_size_px = 64\nfeatures = "random"'
    factory.settings.write_text(settings.replace('model = "ae"', witness))
    for night in (NIGHT, NIGHT.replace(day=2)):
        factory.deliver(night, IMAGES)

    first = nightly(factory.product, NIGHT)
    name = registry.model_name(factory.product)
    MlflowClient().set_registered_model_alias(name, registry.CHAMPION, "1")
    second = nightly(factory.product, NIGHT.replace(day=2))

    assert str(first.action).startswith("trained, ")
    assert second.record.model_version == "1"
    detector = flavor.load_model(f"models:/{name}/1")
    assert detector.witness is not None
    sizes = detector.network_size_px, detector.witness.detector.network_size_px
    assert [each.pixels for each in sizes] == [32 * 32, 48 * 64]
    picture = (normal_picture(np.random.default_rng(5)) * 255).clip(0, 255)
    pictures = [picture.astype(np.uint8), with_scratch(picture).astype(np.uint8)]
    rows = pd.DataFrame({"image": [base64.b64encode(to_png(each)).decode() for each in pictures]})
    served = mlflow.pyfunc.load_model(f"models:/{name}/1").predict(rows)
    assert served["pred_label"].tolist()[1]
    assert served["pred_score"][1] > served["pred_score"][0]
    assert (served["image_threshold"] == detector.calibration.image_threshold).all()
