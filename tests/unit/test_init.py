"""What `reconad init` makes of a bucket, and that it overwrites nothing."""

import shlex
from collections import Counter
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.commands import init
from flows.jobs.proposal import MOST_FOLDERS, other_folders, propose_product, propose_products
from reconad_plugin.advice.name_columns import find_positions
from reconad_plugin.config.settings import load_settings
from reconad_plugin.ledger.manifest import camera_position
from tests.command_line import run
from tests.factory import to_png
from tests.fake_s3 import FakeS3, store_of

PICTURE = to_png(np.zeros((48, 64, 3), np.uint8))
BUCKET = {
    **{
        f"gear/incoming/2026-05-01/{n:03}_{'left' if n % 2 else 'right'}.png": PICTURE
        for n in range(8)
    },
    "gear/incoming/2026-05-02/.keep": b"x",
    **{f"bolt/incoming/2026-05-01/{cam}/{n}.png": PICTURE for cam in "ab" for n in range(3)},
    "bolt/incoming/2026-05-01/a/broken.png": b"no picture",
    **{f"Fotos/2026-04-30/{n}.jpg": b"x" for n in range(3)},
    "flat/cam_20260430_1.png": b"x",
    "notes/readme.txt": b"x",
}


@pytest.fixture
def bucket(monkeypatch):
    """A bucket in memory, whatever is asked for."""
    store = store_of(FakeS3(dict(BUCKET)))
    monkeypatch.setattr(init, "ObjectStore", lambda settings: store)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    return store


@pytest.mark.parametrize(
    ("names", "positions"),
    [
        pytest.param(
            ["1_left.png", "2_left.png", "3_right.png", "4_right.png"],
            {"left": 2, "right": 2},
            id="words at the end",
        ),
        pytest.param(
            ["left 1.png", "left 2.png", "right 3.png", "right 4.png"],
            {"left": 2, "right": 2},
            id="words at the beginning",
        ),
        pytest.param(
            ["7-045-a.png", "8-045-b.png", "9-090-a.png", "6-090-b.png"],
            {"a": 2, "b": 2},
            id="words before numbers",
        ),
        pytest.param(
            ["1_045.png", "2_045.png", "3_090.png", "4_090.png"],
            {"045": 2, "090": 2},
            id="numbers alone",
        ),
        pytest.param(
            ["a_b_x.png", "b_b_y.png", "c_a_x.png", "d_a_x.png", "e_b_y.png"],
            {"a": 2, "b": 3},
            id="columns that share words",
        ),
        pytest.param(
            [f"run_1/{camera}_{n}.png" for camera in ("left", "right") for n in range(2)],
            {"left": 2, "right": 2},
            id="in one folder",
        ),
        pytest.param(["1.png", "2.png", "3.png"], None, id="running numbers"),
        pytest.param(["a_1.png", "a_b_2.png"], None, id="names of many forms"),
        pytest.param([], None, id="no names"),
    ],
)
def test_a_column_of_few_values_tells_positions(names, positions):
    """A night reads them by its pattern."""
    found = find_positions(names)

    assert (found and found.images) == positions
    if found is not None:
        assert Counter(camera_position(name, found.pattern) for name in names) == positions


@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "1", "2"]), min_size=2, max_size=2), max_size=12),
    st.sampled_from(["", "a_b/", "1/b/"]),
    st.sampled_from("_-. "),
)
def test_a_night_reads_the_positions_that_were_counted(rows, folder, gap):
    """Whatever stands in the other columns and in the folder."""
    names = [f"{folder}{gap.join(row)}.png" for row in rows]

    found = find_positions(names)

    if found is not None:
        read = Counter(camera_position(name, found.pattern) for name in names)
        assert read == found.images


def test_no_camera_of_a_large_night_is_lost(bucket):
    """Keys come by the alphabet, so that the last camera's come late; a camera that comes on
    another night has a position too."""
    keys = [f"big/incoming/2026-05-01/{cam}_{n:04}.png" for cam in "abc" for n in range(400)]
    bucket._client.calls.objects |= dict.fromkeys(keys, b"x")

    found = propose_product(bucket, "big")

    assert found.positions.images == {"a": 400, "b": 400, "c": 400}
    assert camera_position("d_0001.png", found.positions.pattern) == "d"


def test_products_are_found_with_their_nights_positions_and_sizes(bucket):
    """Folders below the night are positions; a picture that cannot be read stops nothing."""
    bolt, gear = propose_products(bucket)

    assert (bolt.name, bolt.folders, bolt.positions) == ("bolt", {"a": 4, "b": 3}, None)
    assert bolt.sizes
    assert gear.nights == [date(2026, 5, 1), date(2026, 5, 2)]
    assert (gear.images, set(gear.sizes)) == (8, {(64, 48)})
    assert gear.positions.images == {"left": 4, "right": 4}
    assert propose_product(bucket, "Fotos") is None


def test_another_layout_is_named_with_the_command_that_copies_a_night(bucket):
    """By its folder, or by its names; what holds no picture is passed over, and so is a day that
    there is not."""
    objects = bucket._client.calls.objects
    objects |= {"it's/2026-02-31_2026-03-01.png": b"x", "odd/2026-02-31/1.png": b"x"}
    objects |= {"two\nlines/2026-03-01/1.png": b"x"}

    (fotos, flat, its, odd, two), more = other_folders(bucket, ["bolt", "gear"])

    goal = "incoming/2026-04-30/"
    assert fotos.copying == (
        f"aws s3 cp --recursive s3://factory/Fotos/2026-04-30/ s3://factory/fotos/{goal}"
    )
    assert flat.copying == (
        "aws s3 cp --recursive --exclude '*' --include '*20260430*' s3://factory/flat/ "
        f"s3://factory/flat/{goal}"
    )
    assert shlex.split(its.copying)[-4:] == [
        "--include",
        "*2026-03-01*",
        "s3://factory/it's/",
        "s3://factory/it_s/incoming/2026-03-01/",
    ]
    assert odd.copying is None
    assert two.copying is None
    assert more == 0


def test_of_many_other_folders_some_are_looked_at(bucket, tmp_path):
    """How many more there are is said."""
    folders = MOST_FOLDERS + 7
    bucket._client.calls.objects |= {f"x{n:03}/a.png": b"x" for n in range(folders)}

    said = run("init", "--bucket", "factory", "--yes", "--out", tmp_path / "x.toml").stdout

    # notes/, Fotos/ and flat/ are no products either
    assert said.count("and is no product: ") == MOST_FOLDERS - 1  # there is no picture in notes/
    assert "\n10 more folders are no products either, and were not looked at\n" in said


def test_the_file_is_written_once_and_can_be_read(bucket, tmp_path):
    """It has what was proposed, and the next commands follow."""
    file = tmp_path / "reconad.toml"
    options = ["--bucket", "factory", "--timezone", "Europe/Berlin", "--yes", "--out", file]

    ended = run("init", *options)
    written = file.read_text()
    again = run("init", *options)

    settings = load_settings(file)
    assert ended.returncode == 0
    assert list(settings.products) == ["bolt", "gear"]
    gear = settings.product("gear")
    assert camera_position("000_left.png", gear.position_pattern) == "left"
    assert (gear.timezone, gear.nightly_at) == ("Europe/Berlin", "02:00")
    assert "Fotos/ has 3 pictures and is no product" in ended.stdout
    assert ended.stdout.splitlines()[-5:-2] == [
        "  reconad deploy",
        "  prefect worker start --pool reconad &",
        "  reconad doctor",
    ]
    assert again.returncode == 2
    assert "no file is overwritten" in again.stderr
    assert file.read_text() == written


def test_a_person_is_asked(bucket, tmp_path, monkeypatch):
    """What is not given is asked; a no leaves a product out and a pattern as a comment."""
    answers = {
        "Bucket": "factory",
        "Address of the S3 service (empty: AWS)": "",
        "Time zone of the factory": "UTC",
    }
    asked = []
    monkeypatch.setattr(init.typer, "prompt", lambda text, default=None: answers[text])
    monkeypatch.setattr(
        init.typer, "confirm", lambda text, default: asked.append(text) or "gear as" in text
    )

    assert run("init", "--out", tmp_path / "reconad.toml").returncode == 0

    settings = load_settings(tmp_path / "reconad.toml")
    assert list(settings.products) == ["gear"]
    assert settings.product("gear").position_pattern is None
    written = (tmp_path / "reconad.toml").read_text()
    assert "# position_pattern = '(?:^|/)" in written
    assert "$'  # left (4), right (4)\n" in written
    assert asked[-1] == "gear: are these camera positions? left (4), right (4)"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(["--yes"], "give --bucket", id="no bucket"),
        pytest.param(["--bucket", "x"], "this can be no bucket: bucket", id="no bucket's name"),
        pytest.param(
            ["--bucket", "factory", "--at", "00:30"], "nightly_at", id="an hour that may not be"
        ),
        pytest.param(
            ["--bucket", "factory", "--timezone", "Berlin"], "timezone must be one", id="no zone"
        ),
    ],
)
def test_wrong_answers_leave_no_file(bucket, tmp_path, options, said):
    """One line, exit code 2."""
    ended = run("init", *options, "--yes", "--out", tmp_path / "reconad.toml")

    assert ended.returncode == 2
    assert said in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_strips_are_left_to_a_person(bucket, tmp_path):
    """The file says why, and has the other products all the same."""
    bucket._client.calls.objects["strip/incoming/2026-05-01/a.png"] = to_png(
        np.zeros((8, 200, 3), np.uint8)
    )
    file = tmp_path / "reconad.toml"

    assert run("init", "--bucket", "factory", "--yes", "--out", file).returncode == 0

    assert "# pictures must be at most 16 times as long as broad" in file.read_text()
    settings = load_settings(file)
    assert list(settings.products) == ["bolt", "gear", "strip"]
    assert settings.product("strip").min_image_side_px == 8  # else all would be quarantined


def test_a_product_can_be_named_before_its_first_picture(bucket, tmp_path):
    """It gets a section all the same."""
    file = tmp_path / "reconad.toml"

    assert (
        run("init", "--bucket", "factory", "--product", "new", "--yes", "--out", file).returncode
        == 0
    )

    assert list(load_settings(file).products) == ["new"]
