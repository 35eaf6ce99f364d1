"""Commands by hand: what is refused before the work, and what folders and keys are called."""

import errno
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from PIL import Image

from flows.commands import pretrain_vq
from flows.commands.map_files import map_names
from flows.commands.options_by_hand import PredictOptions, PretrainOptions
from flows.commands.predict import run
from flows.commands.simulate import simulate
from flows.jobs import by_hand, learnt_images
from flows.jobs.by_hand import finetune, name_of, table_of, train
from mlflow_models import flavor
from mlflow_models.version_tags import PARTS_TAG
from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.detector import Witness
from reconad_plugin.errors import ConfigError, PlatformError
from reconad_plugin.images.folder import read_folder
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.ledger.splits import SplitRules

NO_LETTER = "零件"


@pytest.fixture
def save():
    """Writes a picture of one shade, and its folder where it is not there."""

    def write(path, shade=90):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (shade, shade, shade)).save(path)
        return path

    return write


def contents(folder):
    """Path -> bytes of the files of a folder and of those below it."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def options_of(images, maps):
    """Options of a prediction that writes maps."""
    return PredictOptions(model_uri="models:/reconad-bolts/1", images=images, maps=maps)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("maps", ["new", "old/../new", "link"])
def test_maps_are_never_written_among_the_pictures(tmp_path, save, name, maps):
    """They would take a picture's place or pass for one, whatever the folder is called."""
    picture = save(tmp_path / "new" / name)
    (tmp_path / "old").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "new")
    before = contents(picture.parent)

    with pytest.raises(ConfigError, match="--maps must be a folder that holds none of the"):
        run(options_of([picture], tmp_path / maps))

    assert contents(picture.parent) == before


@pytest.mark.parametrize("maps", ["links", "new"])
def test_maps_are_never_written_through_a_link(tmp_path, save, maps):
    """A link among the pictures leads to its file: neither folder is taken."""
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "a.png"
    link.symlink_to(save(tmp_path / "new" / "a.png"))

    with pytest.raises(ConfigError, match="--maps must be"):
        run(options_of([link], tmp_path / maps))


def test_maps_need_a_folder_that_may_be_written(tmp_path, save, monkeypatch):
    """This is told before the work."""
    picture = save(tmp_path / "new" / "a.png")
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)

    with pytest.raises(ConfigError, match=r"a folder that may be written; .*maps may not"):
        run(options_of([picture], tmp_path / "maps"))


def test_links_to_themselves_are_no_failure_of_ours(tmp_path, save):
    """Neither among the pictures nor in place of a folder."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)

    assert map_names([loop, Path("a/loop")]) == [f"{tmp_path.name}_loop.png", "a_loop.png"]
    assert name_of(str(loop), "--product") == "loop"
    with pytest.raises(ConfigError, match=r"results go to a folder; .*loop cannot be one"):
        run(options_of([loop, save(tmp_path / "b.png")], loop))


def test_a_map_that_cannot_be_written_costs_no_other(
    tmp_path, save, monkeypatch, tiny_detector, capsys
):
    """The other maps, the table and the JSON are there, and the command says which is not."""
    monkeypatch.setattr(flavor, "load_model", lambda uri, engine=None: tiny_detector)
    pictures = [save(tmp_path / "new" / name) for name in ("a.png", "b.png")]
    (tmp_path / "maps" / "a.png").mkdir(parents=True)

    with pytest.raises(ConfigError, match=r"1 failed, such as .*a\.png: Is a directory. All else"):
        run(
            PredictOptions(
                model_uri="m", images=pictures, maps=tmp_path / "maps", json=tmp_path / "out.json"
            )
        )

    assert (tmp_path / "maps" / "b.png").is_file()
    assert len(json.loads((tmp_path / "out.json").read_text())["predictions"]) == 2
    assert "p_value" in capsys.readouterr().out


def test_maps_on_a_full_disk_are_no_wrong_input(tmp_path, save, monkeypatch, tiny_detector):
    """The command ends with 1."""
    monkeypatch.setattr(flavor, "load_model", lambda uri, engine=None: tiny_detector)
    picture = save(tmp_path / "new" / "a.png")

    def fail(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)

    with pytest.raises(PlatformError, match="1 failed, such as the disk: No space left on device"):
        run(PredictOptions(model_uri="m", images=[picture], maps=tmp_path / "maps"))


def test_a_scored_picture_is_never_written_over(tmp_path, save):
    """Whatever it is called."""
    picture = save(tmp_path / "a.png").rename(tmp_path / "scan")

    with pytest.raises(ConfigError, match="--json must be a file that is none of the pictures"):
        run(PredictOptions(model_uri="m", images=[picture], json=picture))


def test_a_map_never_follows_a_link_to_a_picture(tmp_path, save, monkeypatch, tiny_detector):
    """The link becomes a map, and the picture stays."""
    monkeypatch.setattr(flavor, "load_model", lambda uri, engine=None: tiny_detector)
    picture = save(tmp_path / "new" / "a.png")
    before = picture.read_bytes()
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "a.png").symlink_to(picture)

    run(PredictOptions(model_uri="m", images=[picture], maps=tmp_path / "maps"))

    assert picture.read_bytes() == before
    assert not (tmp_path / "maps" / "a.png").is_symlink()


@pytest.mark.parametrize("letter", ["c", "é", "\udce9"])
def test_names_of_maps_fit_the_disk(tmp_path, letter):
    """Two pictures of one long name have two maps."""
    stem = letter * (250 // len(os.fsencode(letter)))

    names = map_names([tmp_path / folder / f"{stem}.png" for folder in ("da", "da/da", "b")])

    assert len(set(names)) == 3
    assert all(name.endswith(".png") for name in names)
    for name in names:
        (tmp_path / name).touch()


@pytest.mark.parametrize(
    ("picture", "out"),
    [
        pytest.param("0.png", ".", id="flat"),
        pytest.param("good/0.png", "good", id="good"),
        pytest.param("train/good/0.png", "train/good", id="train"),
        pytest.param("train/good/0.png", "test/hole", id="test"),
        pytest.param("train/good/0.png", "ground_truth/hole", id="masks"),
    ],
)
def test_sheet_is_never_written_among_the_pictures(tmp_path, save, picture, out):
    """The next command would take it for one of them."""
    save(tmp_path / picture)
    save(tmp_path / "test" / "hole" / "0.png")
    save(tmp_path / "ground_truth" / "hole" / "0_mask.png")
    before = contents(tmp_path / out)

    with pytest.raises(ConfigError, match="--out must be a folder that no pictures are read from"):
        simulate(str(tmp_path), "general", tmp_path / out, 32, 0)

    assert contents(tmp_path / out) == before


def test_sheet_may_lie_beside_the_pictures(tmp_path, save):
    """A folder in that of the pictures is not read."""
    save(tmp_path / "0.png")

    file = simulate(str(tmp_path), "general", tmp_path / "sheet", 32, 0)

    assert file == tmp_path / "sheet" / "general.png"
    assert file.is_file()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        pytest.param("data/Ball Screw", "ball-screw", id="folder"),
        pytest.param("data/lot#1", "lot-1", id="folder with #"),
        pytest.param("data/lot?2", "lot-2", id="folder with ?"),
        pytest.param("s3://factory/parts/lot#2/", "lot-2", id="prefix with #"),
        pytest.param("s3://factory/parts/lot?3", "lot-3", id="prefix with ?"),
        pytest.param("s3://factory/", "factory", id="bucket"),
        pytest.param(f"data/{NO_LETTER}-7", "7", id="what is left of it"),
    ],
)
def test_name_is_that_of_the_folder(data, name):
    """Two lots are two products."""
    assert name_of(data, "--product") == name


@pytest.mark.parametrize("data", [f"data/{NO_LETTER}", f"s3://factory/{NO_LETTER}", "/"])
def test_folder_that_gives_no_name_is_refused(data):
    """Two of them would be one product."""
    with pytest.raises(ConfigError, match=r"a letter a to z or a digit .* got .*: give --name$"):
        name_of(data, "--name")


def test_training_asks_for_the_product(tmp_path, save):
    """Before it starts."""
    save(tmp_path / NO_LETTER / "0.png")

    with pytest.raises(ConfigError, match=f"got '{NO_LETTER}': give --product"):
        train(str(tmp_path / NO_LETTER), None, ProductSettings(model="ae", image_size_px=32))


def test_pretraining_asks_for_the_name(tmp_path):
    """Of the first folder."""
    data = [str(tmp_path / NO_LETTER), "other"]

    with pytest.raises(ConfigError, match=f"got '{NO_LETTER}': give --name"):
        pretrain_vq.run(PretrainOptions(data=data, image_size=32, steps=1))


def note_jobs(monkeypatch, base, learnt):
    """Fine-tunings go no further than their job; the base and what it learnt are made up."""
    jobs = []
    monkeypatch.setattr(by_hand.flavor, "load_calibrated", lambda uri, engine=None: base)
    monkeypatch.setattr(by_hand, "read_training_images", lambda uri: learnt)
    monkeypatch.setattr(by_hand, "run_of", lambda uri: "run")
    monkeypatch.setattr(by_hand, "tags_of", lambda uri: {})
    monkeypatch.setattr(by_hand, "_fit", lambda job, device: jobs.append(job))
    return jobs


def test_fine_tuning_keeps_limits_and_witness_of_the_version(
    tmp_path, save, monkeypatch, tiny_detector
):
    """Pictures that the base accepts, the fine-tuned version accepts, too."""
    limits = ImageLimits(max_pixels=90_000_000, min_side_px=8)
    file = save(tmp_path / "new" / "0.png")
    row = {"uri": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    learnt = pd.DataFrame([{**row, "split": "train"}])
    witness = Witness(replace(tiny_detector, model="fre"), tiny_detector.calibration)
    base = replace(tiny_detector, limits=limits, witness=witness)
    jobs = note_jobs(monkeypatch, base, learnt)

    finetune("models:/reconad-bolts/1", str(tmp_path / "new"), None, TrainingSettings(steps=1))

    assert jobs[0].settings.limits == limits
    assert jobs[0].settings.witness == "fre"


def test_a_part_trains_or_calibrates_and_stays(tmp_path, save, monkeypatch, tiny_detector):
    """In a fine-tuning, too, which knows from the version how parts are told."""
    for part in range(5):
        for shot in range(4):
            save(tmp_path / "old" / f"part{part}_{shot}.png", shade=40 * part + shot + 1)
    rules = SplitRules(part_pattern=r"part(\d)")
    old = table_of(read_folder(tmp_path / "old"), rules)
    for part in range(6):
        save(tmp_path / "new" / f"part{part}_9.png", shade=40 * part + 9)
    jobs = note_jobs(monkeypatch, tiny_detector, old[["uri", "sha256", "split"]])
    monkeypatch.setattr(by_hand, "tags_of", lambda uri: {PARTS_TAG: rules.part_pattern})

    finetune("models:/reconad-bolts/1", str(tmp_path / "new"), None, TrainingSettings(steps=1))

    sides = jobs[0].images.groupby("part")["split"].agg(set)
    assert list(sides.index) == list("012345")
    assert sides.map(len).eq(1).all()
    assert set(old.loc[old["split"] == "calibration", "part"]) == set(
        sides[sides == {"calibration"}].index
    )
    assert jobs[0].settings.part_pattern == rules.part_pattern


def test_one_part_alone_sets_no_threshold(tmp_path, save):
    """The pattern may have found what all names share."""
    for shot in range(12):
        save(tmp_path / "bolts" / f"lot7_{shot}.png", shade=shot + 1)
    settings = ProductSettings(model="ae", image_size_px=32, part_pattern=r"lot(\d)")

    with pytest.raises(ConfigError, match=r"two at least.*part_pattern finds 1 in 12 images: give"):
        train(str(tmp_path / "bolts"), None, settings)


def test_a_pattern_that_finds_no_part_is_refused(tmp_path, save):
    """Else each picture would count as a part, and the threshold would be far too sure."""
    for shot in range(12):
        save(tmp_path / "bolts" / f"lot{shot // 2}_{shot}.png", shade=shot + 1)
    settings = ProductSettings(model="ae", image_size_px=32, part_pattern=r"part(\d)")

    with pytest.raises(ConfigError, match=r"'part\(.*\)' finds none in 12 images, such as lot0_0"):
        train(str(tmp_path / "bolts"), None, settings)


def test_pictures_without_a_part_are_told(tmp_path, save, capsys):
    """Each counts as a part of its own."""
    names = ["lot1_0.png", "lot1_1.png", "lot2_0.png", "other.png"]
    for shade, name in enumerate(names, start=1):
        save(tmp_path / name, shade=shade)
    rules = SplitRules(part_pattern=r"lot(\d)")

    by_hand.check_parts(table_of(read_folder(tmp_path), rules), rules)

    told = "part_pattern finds no part in 1 of 4 images, such as other.png: each"
    assert told in capsys.readouterr().err


def test_fine_tuning_asks_the_bucket_for_the_whole_key(
    tmp_path, save, monkeypatch, tiny_detector, capsys
):
    """An image that is there is not called gone because its key has a sign of a URL."""
    kept = save(tmp_path / "kept.png").read_bytes()
    objects = {"bolts/lot#2/a?b.png": kept}
    learnt = pd.DataFrame(
        {
            "uri": ["s3://factory/bolts/lot#2/a?b.png"],
            "sha256": [hashlib.sha256(kept).hexdigest()],
            "split": ["train"],
        }
    )
    save(tmp_path / "new" / "0.png", shade=10)
    monkeypatch.chdir(tmp_path)
    jobs = note_jobs(monkeypatch, tiny_detector, learnt)
    monkeypatch.setattr(
        learnt_images, "open_bucket", lambda name: SimpleNamespace(read_optional=objects.get)
    )

    finetune("models:/reconad-bolts/1", "new", None, TrainingSettings(steps=1))

    assert "gone" not in capsys.readouterr().err
    table = jobs[0].images
    (path,) = table.loc[table["uri"].str.startswith("s3://"), "path"]
    assert Path(path).read_bytes() == kept
