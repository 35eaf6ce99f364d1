"""Commands by hand on a folder of pictures, as a person types them, with MLflow in a file."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from mlflow_models.flavor import load_model
from mlflow_models.tracking import read_training_images
from mlflow_models.version_tags import ADVICE_TAG
from reconad_plugin.images.lens_file import parse_lens
from tests.command_line import run
from tests.doc_pages import blocks
from tests.lens_files import lens_file
from tests.world import NARROW

FIGURES = {
    "image_AUROC",
    "image_AP",
    "image_F1Score",
    "pixel_AUROC",
    "pixel_AP",
    "pixel_AUPRO",
    "fpr",
    "recall",
}
SIDE_PX = 48


def picture(seed: int) -> np.ndarray:
    """A striped part with a little noise, (48, 60, 3) uint8."""
    generator = np.random.default_rng(seed)
    stripes = 110 + 30 * np.sin(np.arange(60) / 4 + generator.uniform(0, 1))
    noise = generator.normal(0, 3, (SIDE_PX, 60, 1))
    return (stripes[None, :, None] + noise).clip(0, 255).repeat(3, axis=2).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty normal parts, and a test split with holes and their masks."""
    folder = tmp_path_factory.mktemp("data") / "Parts"
    for seed in range(20):
        save(folder / "train" / "good" / f"{seed:02}.png", picture(seed))
    for seed in range(6):
        save(folder / "test" / "good" / f"{seed}.png", picture(100 + seed))
        broken, mask = picture(200 + seed), np.zeros((SIDE_PX, 60), np.uint8)
        broken[10:22, 20:34] = 250
        mask[10:22, 20:34] = 255
        save(folder / "test" / "hole" / f"{seed}.png", broken)
        save(folder / "ground_truth" / "hole" / f"{seed}_mask.png", mask)
    return folder


def read(desk: Path, name: str) -> dict[str, object]:
    return dict(json.loads((desk / name).read_text()))


@pytest.fixture(scope="module")
def trained(desk: Path, parts: Path) -> dict[str, object]:
    """What ``reconad train`` says of a short training."""
    size = ("--image-size", 32, "--width", NARROW, "--steps", 150, "--learning-rate", 0.003)
    ended = run("train", "--data", parts, "--model", "ae", *size, "--json", "train.json")
    assert ended.returncode == 0, ended.stderr
    report = read(desk, "train.json")
    assert ended.stdout.splitlines()[-1] == report["model_uri"]
    return report


def test_training_registers_a_version_named_after_the_folder(trained: dict[str, object]) -> None:
    """The URI is the last line, and the JSON tells how the training went."""
    assert trained["model_uri"] == "models:/reconad-parts/1"
    assert (trained["model"], trained["steps"], trained["ended_by"]) == ("ae", 150, "steps")
    assert trained["images_calibration"] == 4


def test_evaluation_has_every_figure(desk: Path, parts: Path, trained: dict[str, object]) -> None:
    """Holes as bright as these are found, by image and by pixel."""
    ended = run("evaluate", trained["model_uri"], "--data", parts, "--json", "test.json")

    assert ended.returncode == 0, ended.stderr
    figures = read(desk, "test.json")
    assert set(figures) >= FIGURES
    assert figures["images"] == {"good": 6, "hole": 6}
    assert figures["image_AUROC"] == 1.0
    assert figures["pixel_AUROC"] > 0.9
    assert set(figures["defects"]) == {"hole"}


def test_prediction_tells_a_hole_from_a_good_part(
    desk: Path, parts: Path, trained: dict[str, object]
) -> None:
    """A broken file has its error and spoils no other; two pictures of one name keep two maps."""
    (desk / "torn.png").write_bytes(b"\x89PNG torn")
    images = (parts / "test" / "good" / "0.png", parts / "test" / "hole" / "0.png", "torn.png")

    ended = run(
        "predict", trained["model_uri"], *images, "--maps", "maps", "--json", "predicted.json"
    )

    assert ended.returncode == 0, ended.stderr
    good, hole, torn = read(desk, "predicted.json")["predictions"]
    assert good["pred_score"] < hole["pred_score"]
    assert hole["pred_label"] is True
    assert torn["pred_score"] is None
    assert "not_an_image" in torn["error"]
    assert {path.name for path in (desk / "maps").iterdir()} == {"good_0.png", "hole_0.png"}


def test_any_name_and_what_cannot_be_read_have_a_row(
    desk: Path, parts: Path, trained: dict[str, object]
) -> None:
    """A name that is no text, a folder, nothing, and a picture above the limit: each on its own."""
    odd = Path(os.fsdecode(b"caf\xe9\n.png"))  # in the desk
    odd.write_bytes((parts / "test" / "good" / "0.png").read_bytes())
    images = (odd, parts, desk / "nothing.png", parts / "test" / "hole" / "0.png")

    ended = run("predict", trained["model_uri"], *images, "--json", "odd.json")
    small = run("predict", trained["model_uri"], odd, "--max-image-pixels", 9, "--json", "few.json")

    assert (ended.returncode, small.returncode) == (0, 0), ended.stderr
    rows = read(desk, "odd.json")["predictions"]
    assert rows[0]["image"] == "caf\\xe9\n.png"
    assert [row["error"] and row["error"].split(":")[0] for row in rows] == [
        None, "unreadable", "unreadable", None,
    ]  # fmt: skip
    assert r"caf\xe9\n.png" in ended.stdout
    (row,) = read(desk, "few.json")["predictions"]
    assert "raise max_image_pixels (by hand --max-image-pixels)" in row["error"]


def test_fine_tuning_rehearses_what_was_learnt(
    desk: Path, tmp_path: Path, trained: dict[str, object]
) -> None:
    """New pictures and old ones train the next version of the same product."""
    for seed in range(5):
        save(tmp_path / "darker" / f"{seed}.png", (picture(300 + seed) * 0.7).astype(np.uint8))

    ended = run(
        *("finetune", trained["model_uri"], "--data", tmp_path / "darker"),
        *("--steps", 5, "--json", "tuned.json"),
    )

    assert ended.returncode == 0, ended.stderr
    tuned = read(desk, "tuned.json")
    assert tuned["model_uri"] == "models:/reconad-parts/2"
    assert tuned["images_calibration"] == 5  # four old ones, one new


def test_simulation_writes_a_sheet(desk: Path, parts: Path) -> None:
    """A picture that a person can judge."""
    ended = run("simulate", "--data", parts, "--preset", "metal", "--out", "sheets")

    assert ended.returncode == 0, ended.stderr
    with Image.open(desk / "sheets" / "metal.png") as sheet:
        assert min(sheet.size) > 400


def test_region_and_lens_are_shown_and_travel_with_the_version(desk: Path, parts: Path) -> None:
    """A version keeps where it looks and through which lens, and so does its fine-tuning; holes
    elsewhere are told."""
    mask = np.zeros((SIDE_PX, 60), np.uint8)
    mask[26:, :] = 255
    save(desk / "below.png", mask)
    calibration = lens_file(6 * 60, 6 * SIDE_PX)
    (desk / "camera.yml").write_text(calibration)
    there = ("--data", parts, "--region", "below.png", "--lens", "camera.yml")
    size = ("--image-size", 32, "--width", NARROW, "--steps", 150, "--learning-rate", 0.003)

    sheet = run("regions", *there, "--out", "looked-at", "--image-size", 32)
    ended = run(
        "train", *there, "--product", "below", "--model", "ae", *size, "--json", "below.json"
    )
    assert (sheet.returncode, ended.returncode) == (0, 0), sheet.stderr + ended.stderr
    (desk / "camera.yml").unlink()  # a version needs it no more
    uri = str(read(desk, "below.json")["model_uri"])
    evaluated = run("evaluate", uri, "--data", parts, "--json", "outside.json")
    tuned = run("finetune", uri, "--data", parts, "--steps", 2)
    again = run("evaluate", tuned.stdout.splitlines()[-1], "--data", parts, "--json", "tuned.json")

    shown = "46.9 % of the picture count; the lens's distortion is taken out"
    assert sheet.stdout.splitlines()[0] == shown
    with Image.open(desk / "looked-at" / "regions.png") as picture:
        assert min(picture.size) > 400
    assert "6 of 6 defects lie outside the region" in evaluated.stderr
    assert "6 of 6 defects lie outside the region" in again.stderr
    found = read(desk, "outside.json")
    assert (found["pixel_AUROC"], found["images"]) == (None, {"good": 6, "hole": 6})
    detectors = [load_model(each) for each in (uri, tuned.stdout.splitlines()[-1])]
    assert detectors[0].lens == detectors[1].lens == parse_lens(calibration.encode(), "camera.yml")


def test_a_version_is_exported_to_an_engine(
    desk: Path, parts: Path, trained: dict[str, object]
) -> None:
    """By the command of docs/engines.md. It becomes a folder and a new version, which know what
    they were exported from; no alias moves, and the new one can be fine-tuned as well."""
    uri = str(trained["model_uri"])
    reconad, *written = blocks("engines.md")[0].splitlines()[0].split()
    meant = {"models:/reconad-parts/1": uri, "parts": str(parts)}
    assert reconad == "reconad"
    assert meant.keys() <= set(written)
    asked = *(meant.get(word, word) for word in written), "--out", "exported"

    ended = run(*asked, "--json", "export.json")
    again = run(*asked)

    assert ended.returncode == 0, ended.stderr
    report, new = read(desk, "export.json"), ended.stdout.splitlines()[-1]
    (figures,) = report["engines"]
    assert (report["model_uri"], report["out"], report["anomalies"]) == (
        new,
        "exported",
        "labelled",
    )
    assert (figures["engine"], figures["normal"], figures["anomalous"]) == ("openvino", 10, 6)
    assert figures["engine_auroc"] == pytest.approx(figures["auroc"], abs=1e-3)
    assert "--out must be a folder that is empty or not there" in again.stderr
    assert again.returncode == 2
    client = MlflowClient()
    before, after = (
        client.get_model_version("reconad-parts", each.rpartition("/")[2]) for each in (uri, new)
    )
    assert after.tags["reconad.exported_from"] == str(before.version)
    assert after.tags["reconad.engines"] == "openvino"
    assert "reconad.request" not in after.tags
    assert after.run_id == before.run_id
    assert client.get_registered_model("reconad-parts").aliases == {}
    assert load_model(new).engine.name == load_model("exported").engine.name == "openvino"
    picture_files = sorted((parts / "test").glob("*/*.png"))
    answers = [
        run("predict", each, *picture_files, "--json", "p.json").returncode
        or [row["pred_score"] for row in read(desk, "p.json")["predictions"]]
        for each in (uri, "exported")
    ]
    assert answers[1] == pytest.approx(answers[0], rel=1e-3)
    assert len(read_training_images(new)) == 20
    asked, *_ = (desk / "exported" / "requirements.txt").read_text().splitlines()
    assert (desk / "exported" / asked).is_file()  # reconad's wheel alone, without PyTorch


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("--engine", "onnx"), "an engine must be one of", id="no such engine"),
        pytest.param((), "--engine", id="no engine"),
        pytest.param(
            ("--engine", "openvino", "--register"), "--register needs a registered", id="a folder"
        ),
    ],
)
def test_what_cannot_be_exported_is_said(
    desk: Path, arguments: tuple[str, ...], message: str
) -> None:
    """Before the model is looked for."""
    ended = run("export", "folder", *arguments)

    assert ended.returncode == 2
    assert message in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("--data", "nowhere"), "must exist; got nowhere", id="no folder"),
        pytest.param(("--data", "{texts}"), "holds 1 other file(s)", id="text files"),
        pytest.param(("--data", "{parts}", "--budget", "0"), "a time above 0", id="budget 0"),
        pytest.param(("--data", "{parts}", "--model", "gan"), "got 'gan'", id="unknown model"),
        pytest.param(("--data", "{parts}", "--preset", "x"), "got 'x'", id="unknown preset"),
        pytest.param(("--data", "{parts}", "--width", "wide"), "got 'wide'", id="unknown width"),
        pytest.param(("--data", "{parts}", "--device", "tpu"), "got 'tpu'", id="unknown device"),
        pytest.param(("--data", "{few}"), "at least 10", id="too few images"),
        pytest.param(("--data", "{broken}"), "torn.png", id="broken picture"),
        pytest.param(
            ("--data", "{parts}", "--region", "{square}"),
            "region: a mask must have the shape of its picture; it is 48 x 48, the picture 60 x 48",
            id="region of another shape",
        ),
        pytest.param(
            ("--data", "{parts}", "--region", "{texts}/a.txt"),
            "region: a region must be a PNG",
            id="text as region",
        ),
        pytest.param(
            ("--data", "{parts}", "--region", "gone.png"),
            "region gone.png: an image must be a file that can be read",
            id="no region there",
        ),
        pytest.param((), "--data", id="no data"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    desk: Path, parts: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """One line says the rule, what came and what to do; there is no traceback."""
    folders = {name: tmp_path / name for name in ("texts", "few", "broken")}
    folders["texts"].mkdir()
    (folders["texts"] / "a.txt").write_text("no picture")
    for seed in range(12):
        save(folders["few" if seed < 3 else "broken"] / f"{seed}.png", picture(seed))
        save(folders["broken"] / f"{seed}.png", picture(seed))
    (folders["broken"] / "torn.png").write_bytes(b"\x89PNG torn")
    save(tmp_path / "square.png", np.full((SIDE_PX, SIDE_PX), 255, np.uint8))
    folders["square"] = tmp_path / "square.png"
    filled = [argument.format(parts=parts, **folders) for argument in arguments]

    ended = run("train", *filled)

    assert ended.returncode == 2
    assert message in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_a_training_takes_what_is_advised(desk: Path, parts: Path) -> None:
    """At the size that was asked for; the version says why it has its model."""
    given = ("--model", "auto", "--image-size", 32, "--features", "random", "--steps", 2)

    ended = run("train", "--data", parts, *given, "--product", "advised", "--json", "auto.json")

    assert ended.returncode == 0, ended.stderr
    report = read(desk, "auto.json")
    assert (report["model"], report["image_size_px"]) == ("draem", 32)  # no weights, so no fre
    tag = MlflowClient().get_model_version("reconad-advised", "1").tags[ADVICE_TAG]
    assert tag.startswith("model draem: where fre cannot be had")
    assert tag.endswith("32 px were asked for")
    assert tag in ended.stderr
    params = MlflowClient().get_run(str(report["run_id"])).data.params
    assert (params["model"], params["width"]) == ("draem", "tiny")
