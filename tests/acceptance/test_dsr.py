"""DSR from the command line: what it stands on first, then the model itself."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from safetensors.torch import save_file

from mlflow_models import flavor
from mlflow_models.foundation import HASH_TAG, URI_TAG, find_foundation
from reconad_plugin.networks.base import hash_weights
from reconad_plugin.networks.registry import model_spec
from reconad_plugin.training import loop
from tests.command_line import run
from tests.integration.test_by_hand import picture, read, save

STEPS = 160
Command = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen normal parts, and a test split with holes and their masks."""
    folder = tmp_path_factory.mktemp("data") / "parts"
    for seed in range(14):
        save(folder / "train" / "good" / f"{seed:02}.png", picture(seed))
    for seed in range(4):
        save(folder / "test" / "good" / f"{seed}.png", picture(100 + seed))
        broken, mask = picture(200 + seed), picture(0)[..., 0] * 0
        broken[16:30, 20:38] = 250
        mask[16:30, 20:38] = 255
        save(folder / "test" / "hole" / f"{seed}.png", broken)
        save(folder / "ground_truth" / "hole" / f"{seed}_mask.png", mask)
    return folder


@pytest.fixture(scope="module")
def other_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve normal parts of another product, in a flat folder."""
    folder = tmp_path_factory.mktemp("data") / "others"
    for seed in range(12):
        save(folder / f"{seed:02}.png", picture(500 + seed).transpose(1, 0, 2))
    return folder


@pytest.fixture(scope="module")
def command(desk: Path) -> Command:
    """Runs a command; its exit code, and the lines of its output and of its errors."""

    def to_lines(*arguments: object) -> tuple[int, list[str], list[str]]:
        ended = run(*arguments)
        return ended.returncode, ended.stdout.splitlines(), ended.stderr.splitlines()

    return to_lines


@pytest.fixture(scope="module")
def pretrained(command: Command, desk: Path, parts: Path, other_parts: Path) -> dict[str, object]:
    """What ``reconad pretrain-vq`` says of a short training on two products."""
    code, said, errors = command(
        *("pretrain-vq", "--data", parts, other_parts, "--name", "metal"),
        *("--image-size", 32, "--steps", 200, "--json", "vq.json"),
    )
    assert code == 0, errors
    figures = read(desk, "vq.json")
    assert said[-1] == figures["model_uri"]
    return figures


@pytest.fixture(scope="module")
def trained(
    command: Command, desk: Path, parts: Path, pretrained: dict[str, object]
) -> dict[str, object]:
    """What ``reconad train --model dsr`` says of a short training that stands on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "PATIENCE_VALIDATIONS", STEPS)  # when it ends early, processors differ
        code, _, errors = command(
            *("train", "--data", parts, "--model", "dsr", "--vq", "metal", "--image-size", 32),
            *("--steps", STEPS, "--batch-size", 16, "--learning-rate", 0.003),
            *("--json", "train.json"),
        )
    assert code == 0, errors
    return read(desk, "train.json")


@pytest.fixture
def client(desk: Path) -> MlflowClient:
    """MLflow as the commands see it."""
    return MlflowClient()


def test_pretraining_is_a_version_with_its_figures(
    client: MlflowClient, pretrained: dict[str, object]
) -> None:
    """Both codebooks are in use; version and run have hash, figures, curve and pictures."""
    assert pretrained["model_uri"] == "models:/reconad-vq-metal/1"
    assert pretrained["fine_codebook"]["codes"] == 512
    version = client.get_model_version("reconad-vq-metal", "1")
    run = client.get_run(version.run_id)
    assert version.tags[HASH_TAG] == pretrained["vq_sha256"]
    figures = {"coarse_perplexity", "coarse_usage", "fine_perplexity", "fine_usage", "ssim"}
    assert {*figures, "psnr_db", "train_loss"} <= set(run.data.metrics)
    assert float(version.tags["reconad.fine_perplexity"]) == pytest.approx(
        pretrained["fine_codebook"]["perplexity"], rel=1e-3
    )
    shown = {each.path for each in client.list_artifacts(version.run_id)}
    assert {"loss.png", "reconstructions.png", "images.csv"} <= shown


def test_version_names_what_it_stands_on(
    client: MlflowClient, pretrained: dict[str, object], trained: dict[str, object]
) -> None:
    """Tags and parameters say the version and its hash, and the weights have that hash."""
    version = client.get_model_version("reconad-parts", "1")
    params = client.get_run(version.run_id).data.params
    assert version.tags[URI_TAG] == params["vq_uri"] == pretrained["model_uri"]
    assert version.tags[HASH_TAG] == params["vq_sha256"] == pretrained["vq_sha256"]
    network = flavor.load_model("models:/reconad-parts/1").engine.network
    assert hash_weights(network.subspaces.vq) == pretrained["vq_sha256"]
    assert trained["phases"] == {"subspaces": 123, "upsampler": 37}


def test_evaluation_states_its_protocol(
    command: Command, desk: Path, parts: Path, trained: dict[str, object]
) -> None:
    """The crop counts for pixels alone, and only where it is asked for."""
    figures = {}
    for protocol in ("whole", "centre-crop"):
        code, _, errors = command(
            *("evaluate", trained["model_uri"], "--data", parts, "--json", "test.json"),
            *(() if protocol == "whole" else ("--protocol", protocol)),
        )
        assert code == 0, errors
        figures[protocol] = read(desk, "test.json")
        assert figures[protocol]["protocol"] == protocol

    whole, cropped = figures.values()
    assert whole["image_AUROC"] == cropped["image_AUROC"] > 0.8
    assert whole["pixel_AP"] != cropped["pixel_AP"]


def test_predictions_are_those_of_every_model(
    command: Command, desk: Path, parts: Path, trained: dict[str, object]
) -> None:
    """Score, label, p-value and a map, by the same command."""
    image = parts / "test" / "hole" / "0.png"

    code, _, errors = command(
        "predict", trained["model_uri"], image, "--maps", "maps", "--json", "said.json"
    )

    assert code == 0, errors
    (said,) = read(desk, "said.json")["predictions"]
    assert 0 <= said["pred_score"] <= 1
    assert (desk / "maps" / "0.png").exists()


def test_fine_tuning_keeps_what_it_stands_on(
    command: Command,
    desk: Path,
    parts: Path,
    client: MlflowClient,
    trained: dict[str, object],
) -> None:
    """The next version names the same autoencoder and still has it, bit by bit."""
    code, _, errors = command(
        *("finetune", trained["model_uri"], "--data", parts, "--steps", 4, "--json", "tuned.json"),
    )

    assert code == 0, errors
    before, after = (client.get_model_version("reconad-parts", number) for number in ("1", "2"))
    assert after.tags[URI_TAG] == before.tags[URI_TAG]
    assert set(read(desk, "tuned.json")["phases"]) == {"subspaces", "upsampler"}
    network = flavor.load_model("models:/reconad-parts/2").engine.network
    assert hash_weights(network.subspaces.vq) == before.tags[HASH_TAG]


def test_a_file_can_be_stood_on(
    client: MlflowClient, tmp_path: Path, pretrained: dict[str, object]
) -> None:
    """Name, address and file of the same weights are one and the same."""
    spec = model_spec("dsr").foundation
    by_name = find_foundation("metal", spec)
    by_uri = find_foundation("models:/reconad-vq-metal/1", spec)
    state = by_name.network.state_dict()
    save_file(
        {name: value.contiguous() for name, value in state.items()}, tmp_path / "a.safetensors"
    )

    by_file = find_foundation(str(tmp_path / "a.safetensors"), spec)

    assert by_name.uri == by_uri.uri == pretrained["model_uri"]
    assert by_file.uri == str(tmp_path / "a.safetensors")
    assert by_name.sha256 == by_uri.sha256 == by_file.sha256 == pretrained["vq_sha256"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("--model", "ae", "--vq", "metal"), "got it with ae", id="another model"),
        pytest.param(("--vq", "wood"), "pretrain-vq --name wood", id="unknown name"),
        pytest.param(("--vq", "models:/reconad-parts/1"), "another model", id="a detector"),
        pytest.param(("--vq", "{texts}/vq.txt"), "weights must be", id="a text file"),
        pytest.param(("--vq", "{texts}/none.pt"), "weights must be", id="no file"),
    ],
)
def test_wrong_vq_is_one_line_and_exit_code_2(
    command: Command,
    parts: Path,
    tmp_path: Path,
    trained: dict[str, object],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    """One line says the rule and what to do; nothing is trained."""
    (tmp_path / "vq.txt").write_text("no weights")
    filled = [argument.format(texts=tmp_path) for argument in arguments]

    code, _, errors = command("train", "--data", parts, "--model", "dsr", *filled)

    assert code == 2
    assert message in errors[-1]


def test_collapsed_codebook_is_one_line_and_exit_code_2(command: Command, parts: Path) -> None:
    """Few small pictures cannot fill 4096 codes: the line names the codebook and the way out."""
    code, _, errors = command(
        *("pretrain-vq", "--data", parts, "--name", "flat", "--width", "paper"),
        *("--image-size", 32, "--steps", 1),
    )

    assert code == 2
    assert "that of the coarse one of 4096 codes" in errors[-1]
