"""Where images by hand come from: a folder, or a bucket that is copied to one."""

import hashlib
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from reconad_plugin.errors import ConfigError, NotEnoughImagesError
from reconad_plugin.store import mirror, objects
from reconad_plugin.store.mirror import (
    hash_file,
    local_folder,
    open_source,
)
from reconad_plugin.store.objects import split_address


@dataclass
class FakeBucket:
    """Objects in memory, with a note of what was read."""

    contents: dict

    def __post_init__(self):
        self.read_keys, self.prefixes, self.buckets, self.regions = [], [], [], []

    def __call__(self, settings):
        self.buckets.append(settings.bucket)
        self.regions.append(settings.region)
        return self

    def list_objects(self, prefix):
        self.prefixes.append(prefix)
        return [
            SimpleNamespace(key=key, etag=hashlib.md5(content).hexdigest())  # noqa: S324
            for key, content in sorted(self.contents.items())
            if key.startswith(prefix) and (content or not key.endswith("/"))
        ]

    def read(self, key):
        self.read_keys.append(key)
        return SimpleNamespace(content=self.contents[key])


@pytest.fixture
def png(encode):
    """A small picture of one shade as a file."""
    return lambda shade: encode(np.full((20, 24, 3), shade, dtype=np.uint8), "PNG")


@pytest.fixture
def bucket(png, monkeypatch):
    """A bucket with two pictures and things beside them."""
    bucket = FakeBucket(
        {
            "bolts/good/a.png": png(10),
            "bolts/good/b.png": png(20),
            "bolts/good/": b"",
            "nuts/good/c.png": png(30),
        }
    )
    monkeypatch.setattr(objects, "ObjectStore", bucket)
    return bucket


def names(paths):
    """The files' names."""
    return [path.name for path in paths]


def test_folder_is_read_where_it_is(tmp_path, png):
    """A path without s3 is a local folder."""
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.png").write_bytes(png(10))

    assert names(open_source(str(tmp_path), tmp_path / "cache").train) == ["a.png"]
    assert not (tmp_path / "cache").exists()


def test_missing_folder_is_refused(tmp_path):
    """A folder that is not there is an error that names it."""
    with pytest.raises(ConfigError, match="nowhere"):
        open_source(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "address", [pytest.param("s3://", id="nothing"), pytest.param("s3:///bolts", id="prefix alone")]
)
def test_address_without_a_bucket_is_refused(address, tmp_path):
    """The message says how an address looks."""
    with pytest.raises(ConfigError, match=rf"is s3://bucket/prefix; got '{address}'"):
        open_source(address, tmp_path)


def test_bucket_that_can_be_none_is_refused(tmp_path):
    """A bucket's name that breaks the rules is an error of ours, in one line."""
    with pytest.raises(ConfigError, match="bucket") as raised:
        open_source("s3://My_Bolts/train", tmp_path)

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "address",
    [pytest.param(f"s3://parts/bolts{end}", id=f"ends in bolts{end}") for end in ("", "/")],
)
def test_prefix_is_copied_and_read(bucket, tmp_path, address):
    """What lies under the prefix becomes a folder beside the cache, and nothing else does."""
    images = open_source(address, tmp_path)

    assert names(images.train) == ["a.png", "b.png"]
    assert bucket.buckets == ["parts"]
    assert bucket.prefixes == ["bolts/"]
    assert all(path.is_relative_to(tmp_path / "s3" / "parts" / "bolts") for path in images.train)
    assert images.train[0].read_bytes() == bucket.contents["bolts/good/a.png"]


def test_whole_bucket_can_be_read(bucket, tmp_path, png):
    """Without a prefix everything is copied."""
    bucket.contents = {"good/a.png": png(1), "good/b.png": png(2)}

    assert names(open_source("s3://parts", tmp_path).train) == ["a.png", "b.png"]
    assert bucket.prefixes == [""]


@pytest.mark.parametrize(
    ("address", "bucket_and_key"),
    [
        pytest.param("s3://parts", ("parts", ""), id="bucket alone"),
        pytest.param("s3://parts/bolts/", ("parts", "bolts/"), id="prefix"),
        pytest.param("s3://parts/lot#2/a?.png", ("parts", "lot#2/a?.png"), id="signs of a URL"),
    ],
)
def test_address_is_split_at_its_first_slash(address, bucket_and_key):
    """A key may hold what would end the path of a URL."""
    assert split_address(address) == bucket_and_key


@pytest.mark.parametrize("lot", ["lot#2", "lot?2"])
def test_prefix_is_read_whole(bucket, tmp_path, png, lot):
    """What follows the sign is not cut off: another lot would be read."""
    bucket.contents = {"lot/good/a.png": png(1), f"{lot}/good/b.png": png(2)}

    images = open_source(f"s3://parts/{lot}", tmp_path)

    assert bucket.prefixes == [f"{lot}/"]
    assert names(images.train) == ["b.png"]
    assert images.root == tmp_path / "s3" / "parts" / lot


def test_copy_is_brought_up_to_date(bucket, tmp_path, png):
    """A second time only what changed is fetched, and what is gone is removed."""
    open_source("s3://parts/bolts", tmp_path)
    bucket.read_keys.clear()
    open_source("s3://parts/bolts", tmp_path)
    assert bucket.read_keys == []

    bucket.contents["bolts/good/b.png"] = png(99)
    bucket.contents["bolts/good/d.png"] = png(40)
    del bucket.contents["bolts/good/a.png"]
    images = open_source("s3://parts/bolts", tmp_path)

    assert bucket.read_keys == ["bolts/good/b.png", "bolts/good/d.png"]
    assert names(images.train) == ["b.png", "d.png"]
    assert images.train[0].read_bytes() == png(99)


def test_file_that_was_lost_is_fetched_again(bucket, tmp_path):
    """What the list remembers and the disk does not is missing."""
    lost = open_source("s3://parts/bolts", tmp_path).train[0]
    lost.unlink()

    open_source("s3://parts/bolts", tmp_path)

    assert lost.exists()


def die(*args):
    """In place of a call during which the process is killed."""
    raise KeyboardInterrupt


def test_killed_copy_leaves_nothing_that_was_deleted_since(bucket, tmp_path, monkeypatch):
    """What a person takes out of the bucket trains nothing, though no note tells of it."""
    with monkeypatch.context() as patch:
        patch.setattr(mirror.json, "dumps", die)
        with pytest.raises(KeyboardInterrupt):
            open_source("s3://parts/bolts", tmp_path)
    assert names(sorted(tmp_path.rglob("*.png"))) == ["a.png", "b.png"]
    del bucket.contents["bolts/good/a.png"]

    assert names(open_source("s3://parts/bolts", tmp_path).train) == ["b.png"]


def test_note_that_was_cut_off_is_written_anew(bucket, tmp_path):
    """All is fetched again, and the run after it finds its note."""
    folder = open_source("s3://parts/bolts", tmp_path).root
    bucket.read_keys.clear()
    (folder / ".etags.json").write_text('{"good/a.p')

    open_source("s3://parts/bolts", tmp_path)
    open_source("s3://parts/bolts", tmp_path)

    assert bucket.read_keys == ["bolts/good/a.png", "bolts/good/b.png"]


def test_note_is_whole_while_it_is_written(bucket, tmp_path, monkeypatch):
    """Until the new note stands the old one does."""
    folder = open_source("s3://parts/bolts", tmp_path).root
    note = (folder / ".etags.json").read_text()
    bucket.contents["bolts/good/d.png"] = bucket.contents["nuts/good/c.png"]
    monkeypatch.setattr(mirror.Path, "replace", die)

    with pytest.raises(KeyboardInterrupt):
        open_source("s3://parts/bolts", tmp_path)

    assert (folder / ".etags.json").read_text() == note


def test_copies_of_a_prefix_and_of_a_deeper_one_do_not_disturb_each_other(bucket, tmp_path, png):
    """They share files on the disk and have a note each; a note in the bucket is none of ours."""
    bucket.contents |= {"bolts/good/.etags.json": b"{}", "bolts/spare/e.png": png(50)}
    addresses = ("s3://parts/bolts/good", "s3://parts/bolts", "s3://parts")
    for address in addresses:
        local_folder(address, tmp_path)
    bucket.read_keys.clear()

    for address in (*addresses, *reversed(addresses)):
        local_folder(address, tmp_path)

    assert bucket.read_keys == []
    pictures = sorted(tmp_path.rglob("*.png"))
    assert names(pictures) == ["a.png", "b.png", "e.png", "c.png"]


def test_folder_that_became_a_file_is_copied_as_one(bucket, tmp_path, png):
    """And the other way round."""
    folder = local_folder("s3://parts/bolts", tmp_path)
    local_folder("s3://parts/bolts/good", tmp_path)  # leaves a note there
    of_folder = {key: content for key, content in bucket.contents.items() if "good/" in key}
    bucket.contents = {"bolts/good": png(7)}

    local_folder("s3://parts/bolts", tmp_path)

    assert (folder / "good").read_bytes() == png(7)
    bucket.contents = of_folder
    assert names(sorted(local_folder("s3://parts/bolts", tmp_path).rglob("*.png"))) == [
        "a.png",
        "b.png",
    ]


def test_prefix_that_leads_out_of_the_cache_is_refused(bucket, tmp_path):
    """Nothing beside the copy is removed."""
    (tmp_path / "mine.txt").write_text("kept")

    with pytest.raises(
        ConfigError, match=r"must not hold '\.\.'; got 'bolts/\.\./\.\./\.\./\.\./'"
    ):
        local_folder("s3://parts/bolts/../../../..", tmp_path / "cache")

    assert (tmp_path / "mine.txt").exists()


def test_empty_prefix_is_refused(bucket, tmp_path):
    """A prefix without pictures is told as a folder without pictures."""
    with pytest.raises(NotEnoughImagesError, match="screws"):
        open_source("s3://parts/screws", tmp_path)


def test_hash_is_that_of_the_bytes(tmp_path):
    """SHA-256, as everywhere."""
    (tmp_path / "a").write_bytes(b"bolt")

    assert hash_file(tmp_path / "a") == hashlib.sha256(b"bolt").hexdigest()


def test_folder_of_textures_may_be_in_a_bucket(bucket, tmp_path):
    """Any folder can be given as a path or as an address."""
    assert local_folder(str(tmp_path)) == tmp_path
    assert names(sorted(local_folder("s3://parts/nuts", tmp_path).rglob("*.png"))) == ["c.png"]


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        pytest.param({}, "us-east-1", id="none"),
        pytest.param({"AWS_DEFAULT_REGION": "eu-west-1"}, "eu-west-1", id="default"),
        pytest.param(
            {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-north-1"}, "eu-north-1", id="both"
        ),
    ],
)
def test_region_comes_from_the_environment(bucket, tmp_path, monkeypatch, variables, region):
    """As with every AWS tool."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    local_folder("s3://parts/bolts", tmp_path)

    assert bucket.regions == [region]
