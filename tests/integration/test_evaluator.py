"""MLflow's own evaluation and validation with our figures, on a real tracking store."""

import base64
import re
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import EvaluationResult, MetricThreshold, list_evaluators
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from mlflow_models import flavor
from reconad_plugin.detector.answer import encode_map
from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.prediction import predict_encoded, to_table
from reconad_plugin.detector.torch_engine import TorchEngine, score_images
from reconad_plugin.images.geometry import stack_images
from reconad_plugin.images.light import fit_light
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.autoencoder import build_autoencoder
from tests.integration.conftest import Evaluate
from tests.labelled import SIDE_PX, THRESHOLD, answering, answers_for, decoded, picture, shrunk


@pytest.fixture(scope="module")
def result(evaluate: Evaluate, data: pd.DataFrame, answers: pd.DataFrame) -> EvaluationResult:
    return evaluate(answering(answers), data, is_drawn=True)


def test_mlflow_finds_the_evaluator() -> None:
    """The installed entry point puts it beside MLflow's own."""
    assert "reconad" in list_evaluators()


def test_image_figures_are_scikit_learns(
    result: EvaluationResult, data: pd.DataFrame, answers: pd.DataFrame
) -> None:
    """Ranking, F1 and shares by another implementation, from the answers themselves."""
    is_defect, score = data["label"].ne("good").to_numpy(), answers["pred_score"].to_numpy()
    is_alarm = score > THRESHOLD
    best = max(f1_score(is_defect, score >= threshold) for threshold in score)
    recalls = {
        f"recall/{kind}": is_alarm[data["label"] == kind].mean() for kind in ("hole", "stain")
    }

    assert 0 < is_alarm[~is_defect].mean() < 1 > is_alarm[is_defect].mean() > 0
    assert {name: result.metrics[name] for name in result.metrics if "pixel" not in name} == (
        pytest.approx(
            {
                "errors": 0,
                "image_AUROC": roc_auc_score(is_defect, score),
                "image_AP": average_precision_score(is_defect, score),
                "image_F1Score": f1_score(is_defect, is_alarm),
                "image_F1_best": best,
                "image_threshold": THRESHOLD,
                "fpr": is_alarm[~is_defect].mean(),
                "recall": is_alarm[is_defect].mean(),
                "escape_rate": 1 - is_alarm[is_defect].mean(),
                **recalls,
            }
        )
    )


def test_pixel_figures_are_scikit_learns(
    result: EvaluationResult, data: pd.DataFrame, answers: pd.DataFrame
) -> None:
    """Of the greys that were served and the masks brought to their size."""
    greys = np.stack([decoded(each) for each in answers["anomaly_map"]])
    is_defect = np.stack([shrunk(mask) for mask in data["mask"]])

    assert result.metrics["pixel_AUROC"] == pytest.approx(
        roc_auc_score(is_defect.ravel(), greys.ravel()), abs=1e-4
    )
    assert result.metrics["pixel_AP"] == pytest.approx(
        average_precision_score(is_defect.ravel(), greys.ravel()), abs=1e-4
    )
    assert 0.15 < result.metrics["pixel_AUPRO"] < 1


def test_everything_is_in_the_run(result: EvaluationResult) -> None:
    """Metrics, plots and the table are in the run, as the result says."""
    run = MlflowClient().get_run(result.run_id)
    files = {each.path for each in MlflowClient().list_artifacts(result.run_id)}

    assert run.data.metrics == pytest.approx(result.metrics)
    assert files == {
        "roc_curve_plot.png",
        "precision_recall_curve_plot.png",
        "score_histogram.png",
        "worst_misses.png",
        "worst_false_alarms.png",
        "rows.csv",
    }
    assert set(result.artifacts) == {Path(file).stem for file in files}


def test_the_table_has_every_row(
    result: EvaluationResult, data: pd.DataFrame, answers: pd.DataFrame
) -> None:
    """Row by row: the label, what was said, and whether that is a mistake."""
    folder = mlflow.artifacts.download_artifacts(f"runs:/{result.run_id}/rows.csv")
    rows = pd.read_csv(folder)

    assert rows["row"].tolist() == list(range(24))
    assert rows["label"].tolist() == data["label"].tolist()
    assert rows["pred_score"].to_numpy() == pytest.approx(answers["pred_score"].to_numpy())
    is_defect, is_alarm = rows["label"] != "good", rows["pred_score"] > THRESHOLD
    assert rows["is_miss"].tolist() == (is_defect & ~is_alarm).tolist()
    assert rows["is_false_alarm"].tolist() == (~is_defect & is_alarm).tolist()


def test_a_result_can_be_saved_and_loaded(result: EvaluationResult, tmp_path: Path) -> None:
    """Figures, pictures and the table come back from a folder."""
    result.save(str(tmp_path))

    loaded = EvaluationResult.load(str(tmp_path))

    assert loaded.metrics == result.metrics
    assert loaded.artifacts["worst_misses"].content.size == (
        result.artifacts["worst_misses"].content.size
    )
    assert len(loaded.artifacts["rows"].content) == 24


def test_results_are_validated(
    evaluate: Evaluate, data: pd.DataFrame, result: EvaluationResult
) -> None:
    """A limit is kept or broken, and a candidate is better than its baseline or is not."""
    better = evaluate(answering(answers_for(data, seed=2, quality=0.4)), data)
    limit = {
        "recall/stain": MetricThreshold(threshold=0.9, greater_is_better=True),
        "fpr": MetricThreshold(threshold=0.2, greater_is_better=False),
    }
    gain = {"escape_rate": MetricThreshold(min_absolute_change=0.05, greater_is_better=False)}

    mlflow.validate_evaluation_results(limit, better)
    mlflow.validate_evaluation_results(gain, better, baseline_result=result)

    with pytest.raises(MlflowException, match="recall/stain value threshold check failed"):
        mlflow.validate_evaluation_results(limit, result)
    with pytest.raises(MlflowException, match="escape_rate minimum absolute change check failed"):
        mlflow.validate_evaluation_results(gain, result, baseline_result=better)


def test_rows_with_an_error_are_counted_and_left_out(
    evaluate: Evaluate,
    data: pd.DataFrame,
    answers: pd.DataFrame,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two broken rows change no figure but ``errors``, and a warning says so."""
    broken = answers.astype(object)
    unread = ["pred_score", "pred_label", "p_value", "anomaly_map"]
    for row in (3, 20):
        broken.iloc[row, [broken.columns.get_loc(name) for name in unread]] = None
        broken.iloc[row, broken.columns.get_loc("error")] = "truncated: it is cut off"
    whole = data.drop(index=[3, 20])

    found = evaluate(answering(broken), data).metrics

    expected = evaluate(answering(answers), whole).metrics
    assert found == pytest.approx({**expected, "errors": 2})
    assert "2 of 24 rows have an error" in caplog.text
    assert "row 3: truncated: it is cut off" in caplog.text


def test_maps_that_are_white_are_told_of(
    evaluate: Evaluate,
    data: pd.DataFrame,
    answers: pd.DataFrame,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Pixels beyond the scale of the maps can no longer be told apart, and a warning says so."""
    white = encode_map(np.full((SIDE_PX, SIDE_PX), 9.0, np.float32), THRESHOLD)

    found = evaluate(answering(answers.assign(anomaly_map=white)), data).metrics

    assert found["pixel_AUROC"] == 0.5
    assert "100.0 % of the normal pixels are white" in caplog.text


def test_names_can_have_a_prefix(
    evaluate: Evaluate, data: pd.DataFrame, answers: pd.DataFrame
) -> None:
    """Metrics and files of two evaluations in one run are told apart; masks may have any name."""
    renamed = data.rename(columns={"mask": "ground truth"})
    config = {"metric_prefix": "line2_", "mask": "ground truth"}

    found = evaluate(answering(answers), renamed, evaluator_config=config)

    assert all(name.startswith("line2_") for name in found.metrics)
    assert {"line2_image_AUROC", "line2_pixel_AUPRO"} < set(found.metrics)
    files = {each.path for each in MlflowClient().list_artifacts(found.run_id)}
    assert "line2_roc_curve_plot.png" in files


@pytest.mark.parametrize(
    "to_target",
    [
        pytest.param(lambda label: label != "good", id="bool"),
        pytest.param(lambda label: int(label != "good"), id="0 and 1"),
    ],
)
def test_numbers_are_labels_too(
    evaluate: Evaluate,
    data: pd.DataFrame,
    answers: pd.DataFrame,
    result: EvaluationResult,
    to_target: Callable[[str], object],
) -> None:
    """0 and False are normal, 1 and True anomalous; without masks there are no pixel figures."""
    numbered = data.drop(columns="mask").assign(label=data["label"].map(to_target))

    found = evaluate(answering(answers), numbered).metrics

    assert found["image_AUROC"] == result.metrics["image_AUROC"]
    assert found["recall/anomalous"] == found["recall"] == result.metrics["recall"]
    assert not [name for name in found if "pixel" in name]


def test_each_row_is_held_against_its_own_threshold(
    evaluate: Evaluate, data: pd.DataFrame, answers: pd.DataFrame
) -> None:
    """A model with two thresholds has no one figure for them, and its labels are taken."""
    lenient = answers.copy()
    lenient.iloc[:6, lenient.columns.get_loc("image_threshold")] = 0.9
    lenient["pred_label"] = lenient["pred_score"] > lenient["image_threshold"]

    found = evaluate(answering(lenient), data.drop(columns="mask")).metrics

    assert found["fpr"] == lenient["pred_label"].to_numpy()[:12].mean()
    assert "image_threshold" not in found


def tiny_detector() -> Detector:
    """Few and untrained weights, calibrated on nine normal parts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_autoencoder(ImageSize.square(SIDE_PX), width=4, latent_dim=8).eval()
    pictures = stack_images([picture(seed) for seed in range(100, 109)], ImageSize.square(SIDE_PX))
    normal = torch.from_numpy(pictures)
    calibration = calibrate(score_images(network, normal, 1).pred_score, 0.1)
    return Detector(
        model="ae",
        architecture={"width": 4, "latent_dim": 8},
        image_size_px=ImageSize.square(SIDE_PX),
        engine=TorchEngine(network, window_px=1),
        light=fit_light(normal),
        calibration=calibration,
        matched_calibration=calibration,
        limits=ImageLimits(),
    )


def test_a_logged_detector_is_evaluated_by_its_address(
    evaluate: Evaluate, experiment: str, data: pd.DataFrame
) -> None:
    """Figures are of the detector's own scores, and stand with the logged model too."""
    detector = tiny_detector()
    with mlflow.start_run(experiment_id=experiment):
        logged = flavor.log_model(detector)

    found = evaluate(logged.model_uri, data)

    own = to_table(predict_encoded(detector, data["image"].tolist(), "1"))
    is_defect, score = data["label"] != "good", own["pred_score"].astype(float)
    assert found.metrics["image_AUROC"] == pytest.approx(roc_auc_score(is_defect, score))
    assert found.metrics["recall"] == own["pred_label"][is_defect].astype(bool).mean()
    assert found.metrics["image_threshold"] == detector.calibration.image_threshold
    assert found.metrics["pixel_AUROC"] > 0.5
    linked = mlflow.get_logged_model(logged.model_id).metrics
    assert {each.key: each.value for each in linked} == pytest.approx(found.metrics)
    assert MlflowClient().get_run(found.run_id).data.metrics == pytest.approx(found.metrics)


def test_the_example_of_the_documentation_runs(
    experiment: str, data: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copied from the page into a folder of pictures, it evaluates the first version."""
    for row in data[data["label"] != "stain"].itertuples():
        save(tmp_path / "parts" / "test" / row.label / f"{row.Index}.png", row.image)
        if row.label != "good":
            folder = tmp_path / "parts" / "ground_truth" / row.label
            save(folder / f"{row.Index}_mask.png", row.mask)
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "by-hand.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, EvaluationResult] = {}

    with mlflow.start_run(experiment_id=experiment):
        flavor.log_model(tiny_detector(), registered_model_name="reconad-parts")
        exec(code, names)  # noqa: S102  our own page

    assert names["result"].metrics["pixel_AUPRO"] > 0


def save(path: Path, encoded_picture: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64decode(encoded_picture))
