"""Copies of a bucket whose keys are no names of files: none is lost, and none leads elsewhere."""

import re
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flows.jobs.nightly_training import with_textures
from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.errors import ConfigError, ObjectUnreadableError
from reconad_plugin.store import mirror
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.file_names import NOTE, file_paths
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.mirror import copy_prefix, local_folder, open_source
from tests.fake_s3 import FakeS3, refusal, store_of

ODD = (
    "x", "/x", "//x", "../x", "../../../../x", "./x", ".", "..", "%", "%/x", "%2E%2E/x", "%25",
    "a%b", "a/x", "a//x", "a\\x", "a\x00x", "a\nx", "A/X", "é" * 127 + "/x", "y" * 1000, "y" * 1001,
    "y" * 300 + ".png", "x" + "." * 300, NOTE, f"{NOTE}/x", "a/x/y", "x/", "x//", "/" * 300,
)  # fmt: skip
part = st.one_of(
    st.sampled_from(["", ".", "..", "%", "good", "a.png", "A.png", NOTE]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
)
names = st.lists(st.lists(part, min_size=1, max_size=4).map("/".join), max_size=12, unique=True)


@pytest.fixture
def fake(monkeypatch):
    """A bucket in memory, which every address leads to."""
    fake = FakeS3({})
    monkeypatch.setattr(mirror, "open_bucket", lambda name: store_of(fake))
    return fake


def below(folder):
    """The content of the files of a copy, by path."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != NOTE)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_every_object_becomes_a_file_below_the_folder(fake, tmp_path):
    """Whatever its key is, with its own bytes, and nothing is written anywhere else; the second
    copy finds all of them."""
    fake.objects = {f"bolts/{name}": f"the bytes of {name}".encode() for name in ODD}

    folder = local_folder("s3://parts/bolts", tmp_path)
    first = below(tmp_path)
    fake.read.clear()
    local_folder("s3://parts/bolts", tmp_path)

    assert sorted(first.values()) == sorted(fake.objects.values())
    assert all((tmp_path / path).is_relative_to(folder) for path in first)
    assert fake.read == []
    assert below(tmp_path) == first


@given(names)
@example(list(ODD))
@example(["a%", "a%25", "a%2525", "a%0", "a%00", "a\x00", "%", "%25", ""])
def test_each_name_has_a_path_of_its_own_that_a_disk_takes(given_names):
    """No two names share one, none is a folder on the way to another, and none leads upwards."""
    paths = file_paths(given_names)

    assert list(paths) == given_names
    assert len(set(paths.values())) == len(given_names)
    for path in paths.values():
        parts = path.split("/")
        assert not {"", ".", "..", NOTE}.intersection(parts)
        assert all(len(each.encode()) <= 255 and "\x00" not in each for each in parts)
        assert not any(other.startswith(f"{path}/") for other in paths.values())


@pytest.mark.parametrize("name", ["good/a.png", "train/good/100%.png", "test/hole/Ä #1?.png", "x"])
def test_plain_names_stay_as_they_are(name):
    """What people see, and what a mask is found by, is the key."""
    assert file_paths([name]) == {name: name}


def test_two_keys_that_a_path_would_make_one_train_both(fake, tmp_path, encode, speckle):
    """The picture below two slashes takes no other's place."""
    fake.objects = {
        "bolts/good/a.png": encode(speckle, "PNG"),
        "bolts/good//a.png": encode(speckle[::-1], "PNG"),
    }

    below_one = open_source("s3://parts/bolts", tmp_path)
    below_two = open_source("s3://parts/bolts/good//", tmp_path)

    assert [path.read_bytes() for path in below_one.train] == [fake.objects["bolts/good/a.png"]]
    assert [path.read_bytes() for path in below_two.train] == [fake.objects["bolts/good//a.png"]]


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        pytest.param("s3://parts/bolts//", "bolts//", id="two slashes"),
        pytest.param("s3://parts//bolts", "/bolts/", id="a slash first"),
        pytest.param("s3://parts//", "/", id="a slash alone"),
    ],
)
def test_prefix_is_read_as_it_is_written(fake, tmp_path, encode, speckle, address, prefix):
    """What lies below two slashes, or a first one, can be reached."""
    wanted = encode(speckle, "PNG")
    fake.objects = {f"{prefix}good/a.png": wanted, "bolts/good/b.png": encode(speckle, "BMP")}

    images = open_source(address, tmp_path)

    assert [path.read_bytes() for path in images.train] == [wanted]
    assert images.root.is_relative_to(tmp_path / "s3" / "parts")


def test_file_and_folder_of_one_name_are_both_copied(fake, tmp_path):
    """A bucket may hold both, a disk not: the file gets another name, that nothing else has."""
    fake.objects = {"bolts/a.png": b"file", "bolts/a.png/b.png": b"in the folder"}

    folder = local_folder("s3://parts/bolts", tmp_path)

    inside, file = sorted(below(folder))
    assert re.fullmatch(r"a~[0-9a-f]{16}\.png", file)
    assert below(folder) == {inside: b"in the folder", file: b"file"}
    assert inside == "a.png/b.png"


def test_a_path_that_another_object_takes_over_is_fetched(fake, tmp_path):
    """The note is of the path: what lay there before is not taken for the new one."""
    fake.objects = {"bolts/a.png": b"file"}
    folder = local_folder("s3://parts/bolts", tmp_path)
    fake.objects["bolts/a.png/b.png"] = b"in the folder"
    local_folder("s3://parts/bolts", tmp_path)
    del fake.objects["bolts/a.png/b.png"]

    local_folder("s3://parts/bolts", tmp_path)

    assert below(folder) == {"a.png": b"file"}


def test_a_picture_that_is_refused_is_named_and_other_files_do_not_matter(fake, tmp_path, caplog):
    """No picture is left out unseen; an archive beside them stops nobody, and is tried again."""
    fake.objects = {"bolts/a.png": b"1", "bolts/b.png": b"2", "bolts/old.zip": b"3"}
    archived = refusal("InvalidObjectState", "It is archived.", 403)
    fake.refused = {"bolts/old.zip": archived, "bolts/b.png": archived}

    with pytest.raises(ObjectUnreadableError, match=r"read bolts/b\.png .*It is archived: restore"):
        local_folder("s3://parts/bolts", tmp_path)
    del fake.refused["bolts/b.png"]
    folder = local_folder("s3://parts/bolts", tmp_path)

    assert below(folder) == {"a.png": b"1", "b.png": b"2"}
    assert "s3://factory/bolts/old.zip is passed over: cannot read" in caplog.text
    fake.refused = {}
    local_folder("s3://parts/bolts", tmp_path)
    assert below(folder)["old.zip"] == b"3"


def test_names_that_a_disk_takes_for_one_are_refused(fake, tmp_path, monkeypatch):
    """As where it does not tell capitals: neither takes the other's place unseen."""
    fake.objects = {"bolts/good/a.png": b"1", "bolts/good/A.png": b"2"}
    monkeypatch.setattr(mirror, "file_paths", lambda names: {name: name.lower() for name in names})

    with pytest.raises(ConfigError, match=r"takes bolts/good/A\.png and bolts/good/a\.png for one"):
        copy_prefix(store_of(fake), "bolts/", tmp_path)

    assert below(tmp_path) == {"good/a.png": b"2"}


@pytest.mark.parametrize(
    ("names", "is_own"),
    [
        ([".DS_Store", "Thumbs.db", "README.txt", "wood/"], False),
        (["README.txt", "wood/a.JPG"], True),
        ([], False),
    ],
)
def test_strays_among_textures_leave_the_packaged_ones(fake, tmp_path, names, is_own):
    """A folder without a picture is as no folder."""
    fake.objects = {f"bolt/textures/{name}": b"x" if name[-1] != "/" else b"" for name in names}
    product = SimpleNamespace(
        name="bolt",
        store=store_of(fake),
        cache=ContentCache(tmp_path),
        layout=ProductLayout("bolt"),
    )

    training, _ = with_textures(product, TrainingSettings())

    assert (training.textures is not None) is is_own
