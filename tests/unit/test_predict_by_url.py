"""``reconad predict --url``: folders and files go to a server, and its answers to a person."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from flows.jobs import predict_by_url, scoring_client
from flows.platform.processes import free_ports
from tests.command_line import run
from tests.scoring_server import THRESHOLD, Reply, predictions, serving


@pytest.fixture
def parts(tmp_path):
    """Five pictures in a folder, of which the last is dark, and what is none."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for shade in range(5):
        Image.new("RGB", (40, 30), (50 - 10 * shade,) * 3).save(folder / f"{shade}.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def impatient(monkeypatch):
    """Clients wait no second."""
    monkeypatch.setattr(scoring_client, "FIRST_WAIT_S", 0.0)


def read(file):
    return json.loads(file.read_text())


def test_a_folder_means_its_pictures(parts, tmp_path):
    """Each has a row, in order of name; files come as they are given."""
    alone = tmp_path / "alone"
    alone.write_bytes(b"x" * 900)

    with serving(predictions("3")) as server:
        ended = run("predict", "--url", server.url, parts, alone, "--json", tmp_path / "a.json")

    assert ended.returncode == 0, ended.stderr
    said = read(tmp_path / "a.json")
    assert said["url"] == server.url
    names = [row["image"] for row in said["predictions"]]
    assert names == [*[str(parts / f"{shade}.png") for shade in range(5)], str(alone)]
    last = said["predictions"][-1]
    assert (last["pred_score"], last["pred_label"], last["model_version"]) == (0.9, True, "3")
    assert "anomaly_map" not in last
    assert "version" in ended.stdout
    assert ended.stderr == ""


def test_requests_are_few_pictures_and_few_bytes(parts, tmp_path, monkeypatch):
    """A picture that is larger than a request may be goes alone; none waits for the last one."""
    monkeypatch.setattr(predict_by_url, "MOST_PICTURES", 3)
    monkeypatch.setattr(predict_by_url, "MOST_BYTES", 1000)
    large = tmp_path / "large.png"
    large.write_bytes(b"x" * 1001)

    with serving(predictions()) as server:
        ended = run("predict", parts, large, parts, "--url", server.url)

    assert ended.returncode == 0, ended.stderr
    assert [len(pictures) for pictures in server.asked] == [3, 2, 1, 3, 2]


def test_one_that_cannot_be_read_stops_no_other(parts, tmp_path):
    """It has a row with its own reason, and with the threshold and version of the server."""
    (tmp_path / "empty").mkdir()
    images = [parts / "0.png", tmp_path / "gone.png", tmp_path / "empty", parts / "1.png"]

    with serving(predictions("3")) as server:
        ended = run("predict", "--url", server.url, *images, "--json", tmp_path / "a.json")

    assert ended.returncode == 0, ended.stderr
    rows = read(tmp_path / "a.json")["predictions"]
    assert [row["error"] and row["error"].split(":")[0] for row in rows] == [
        None, "unreadable", "unreadable", None,
    ]  # fmt: skip
    assert {row["image_threshold"] for row in rows} == {THRESHOLD}
    assert {row["model_version"] for row in rows} == {"3"}


def test_a_change_of_the_version_is_told(parts, monkeypatch):
    """A server can follow the champion in the middle."""
    monkeypatch.setattr(predict_by_url, "MOST_PICTURES", 2)

    with serving(predictions("3"), predictions("4")) as server:
        ended = run("predict", "--url", server.url, parts)

    assert ended.returncode == 0
    assert "reconad: versions 3 and 4 answered" in ended.stderr


def test_maps_and_overlays_are_files(parts, tmp_path):
    """A map as it came, and the picture with colours and an outline where it is above."""
    large = tmp_path / "noise.png"
    noise = np.random.default_rng(0).integers(90, 110, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(large)
    folders = ("--maps", tmp_path / "maps", "--overlays", tmp_path / "overlays")

    with serving(predictions()) as server:
        ended = run("predict", "--url", server.url, large, tmp_path / "no.png", *folders)

    assert ended.returncode == 0, ended.stderr
    assert [file.name for file in (tmp_path / "maps").iterdir()] == ["noise.png"]
    grey = np.asarray(Image.open(tmp_path / "maps" / "noise.png"))
    assert (grey.shape, grey.max()) == ((8, 8), 255)  # far above the threshold
    drawn = np.asarray(Image.open(tmp_path / "overlays" / "noise.png")).astype(int)
    assert drawn.shape == (40, 40, 3)
    assert np.abs(drawn[25:, 25:] - noise[25:, 25:]).max() <= 1  # nothing is found there
    assert (drawn == 255).all(-1).any()
    assert drawn[14, 14].max() - drawn[14, 14].min() > 50  # colours


def test_maps_and_overlays_are_two_folders(parts, tmp_path):
    """Their files have the same names; neither is among the pictures."""
    line = ("predict", "--url", "http://127.0.0.1:1", parts)

    one = run(*line, "--maps", tmp_path / "a", "--overlays", tmp_path / "b" / ".." / "a")
    among = run(*line, "--overlays", parts)

    assert (one.returncode, among.returncode) == (2, 2)
    assert "--maps and --overlays must be two folders" in one.stderr
    assert "--overlays must be a folder that holds none of the pictures" in among.stderr


def test_an_overlay_that_cannot_be_drawn_costs_no_other(parts, tmp_path, capsys):
    """The other, the table and the JSON are there."""
    odd = tmp_path / "odd.png"
    odd.write_bytes(b"x" * 900)  # a server that takes what this machine cannot decode
    line = ("--overlays", tmp_path / "overlays", "--json", tmp_path / "a.json")

    with serving(predictions()) as server:
        ended = run("predict", "--url", server.url, odd, parts / "0.png", *line)

    assert ended.returncode == 2
    assert "1 failed, such as an image must be one of PNG" in ended.stderr
    assert len(read(tmp_path / "a.json")["predictions"]) == 2
    assert [file.name for file in (tmp_path / "overlays").iterdir()] == ["0.png"]


@pytest.mark.usefixtures("impatient")
def test_what_was_answered_before_an_outage_is_kept(parts, tmp_path, monkeypatch):
    """The table and the JSON have it, and the command ends with 1."""
    monkeypatch.setattr(predict_by_url, "MOST_PICTURES", 2)

    with serving(predictions(), Reply(503)) as server:
        ended = run("predict", "--url", server.url, parts, "--json", tmp_path / "a.json")

    assert ended.returncode == 1
    assert "what was answered before stands above: 2 of 5" in ended.stderr
    assert len(read(tmp_path / "a.json")["predictions"]) == 2


@pytest.mark.usefixtures("impatient")
def test_no_server_is_exit_code_1(parts):
    """With one line that names it and says what to do, after one that says what is waited for."""
    (port,) = free_ports(1)

    ended = run("predict", "--url", f"http://127.0.0.1:{port}", parts)

    assert ended.returncode == 1
    waited, failed = ended.stderr.splitlines()
    assert "does not answer yet" in waited
    assert f"must be served at http://127.0.0.1:{port}" in failed
    assert "start `mlflow models serve`, or correct --url" in failed


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param(("--url", "http://127.0.0.1:1"), "needs pictures; got none", id="nothing"),
        pytest.param(("models:/reconad-bolts/1",), "needs pictures; got none", id="no picture"),
        pytest.param(
            ("a.png", "--url", "http://127.0.0.1:1", "--max-image-pixels", "9"),
            "got --max-image-pixels with --url: leave one out",
            id="limit of the server",
        ),
        pytest.param(("a.png", "--url", "http://me:x@host"), "no user and no password", id="user"),
    ],
)
def test_wrong_usage_is_exit_code_2(line, said):
    """One line says what to do."""
    ended = run("predict", *line)

    assert ended.returncode == 2
    assert said in ended.stderr


def test_the_environment_has_the_token(parts):
    """And no option, which others on this machine could read."""
    with serving(predictions()) as server:
        ended = run("predict", "--url", server.url, parts, RECONAD_TOKEN="abc")

    assert {each["Authorization"] for each in server.headers} == {"Bearer abc"}
    assert "abc" not in ended.stdout + ended.stderr


def test_neither_torch_nor_mlflow_is_imported(parts, tmp_path):
    """Whoever asks a server waits for no network of its own."""
    code = (
        "import sys\nfrom flows.commands.cli import main\ncode = main(sys.argv[1:])\n"
        "print(code, [name for name in ('torch', 'mlflow', 'prefect') if name in sys.modules])"
    )

    with serving(predictions()) as server:
        line = ["predict", "--url", server.url, parts, "--overlays", tmp_path / "overlays"]
        command = [sys.executable, "-c", code, *map(str, line)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)

    assert answer.stdout.splitlines()[-1] == "0 []"
    assert Image.open(io.BytesIO((tmp_path / "overlays" / "0.png").read_bytes())).size == (40, 30)
