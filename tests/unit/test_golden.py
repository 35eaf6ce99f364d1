"""The golden set: which folders it is read from, and which held-out images join."""

import io
from dataclasses import replace
from hashlib import md5, sha256

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reconad_plugin.errors import InvalidImageError
from reconad_plugin.gate.golden import choose_held_out, read_golden
from reconad_plugin.gate.limits import LIMITS
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.golden_images import read_golden_images
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectContent, ObjectInfo

LAYOUT = ProductLayout("bolt")


class FolderOfBytes:
    """Objects in memory, listed in order of key as a bucket lists them."""

    bucket = "factory"

    def __init__(self, objects):
        self.objects = objects
        self.read_keys = []

    def list_objects(self, prefix):
        return [
            ObjectInfo(key, md5(self.objects[key], usedforsecurity=False).hexdigest(), 0)
            for key in sorted(self.objects)
            if key.startswith(prefix)
        ]

    def uri(self, key):
        return f"s3://factory/{key}"

    def read_optional(self, key):
        return self.objects.get(key)

    def read(self, key):
        self.read_keys.append(key)
        return ObjectContent(self.objects[key], "null")


def bucket(*names):
    """A bucket with a picture under each of these names of ``bolt/golden/``."""
    objects = {}
    for shade, name in enumerate(names):
        buffer = io.BytesIO()
        Image.fromarray(np.full((40, 40, 3), 10 * shade, np.uint8)).save(buffer, "PNG")
        objects[f"bolt/golden/{name}"] = buffer.getvalue()
    return FolderOfBytes(objects)


@pytest.fixture
def read(tmp_path):
    """Reads the golden set of a bucket, with a local cache."""
    cache = ContentCache(tmp_path)

    def read(store, fitted_to=(), filled_from=()):
        images = read_golden_images(store, cache, LAYOUT, ImageLimits())
        return read_golden(images, ImageSize.square(32), ImageLimits(), fitted_to, filled_from)

    return read


def rows(nights, count, split="judge"):
    """Learnable rows: so many images of each night."""
    return pd.DataFrame(
        {"night": night, "sha256": f"{7 * index % count:04}", "split": split}
        for night in nights
        for index in range(count)
    )


def test_folders_name_the_defects(read):
    """Each folder is a type of defect; masks are none, and normal images have their folder."""
    store = bucket("stain/c.png", "crack/a.png", "normal/n.png", "masks/crack/a.png", "crack/b.png")

    golden = read(store)

    assert golden.labels.kind == "real"
    assert golden.labels.normal == ("bolt/golden/normal/n.png",)
    assert golden.labels.nights == ("",)
    names = [name.removeprefix("bolt/golden/") for name in golden.labels.anomalous]
    assert names == ["crack/a.png", "crack/b.png", "stain/c.png"]
    assert golden.labels.defects == ("crack", "crack", "stain")
    assert golden.anomalous[:, 0, 0, 0].tolist() == [10, 40, 0]
    assert golden.normal[:, 0, 0, 0].tolist() == [20]


def test_a_normal_image_that_was_learnt_does_not_judge(read):
    """A version would be judged on what it was fitted to; none is fitted to defects."""
    store = bucket("normal/learnt.png", "normal/new.png", "crack/a.png")
    learnt = ("bolt/golden/normal/learnt.png", "bolt/golden/crack/a.png")
    fitted_to = {sha256(store.read(key).content).hexdigest() for key in learnt}

    golden = read(store, fitted_to)

    assert golden.labels.normal == ("bolt/golden/normal/new.png",)
    assert golden.normal[:, 0, 0, 0].tolist() == [10]
    assert golden.labels.defects == ("crack",)


def test_a_defect_that_filled_simulated_anomalies_does_not_judge(read):
    """It became golden later, and the version would be judged on what it has seen; a normal image
    has filled nothing."""
    store = bucket("normal/n.png", "crack/filled.png", "crack/new.png")
    seen = ("bolt/golden/normal/n.png", "bolt/golden/crack/filled.png")
    filled_from = {sha256(store.read(key).content).hexdigest() for key in seen}

    golden, of_none = read(store, (), filled_from), read(store)

    assert golden.labels.normal == ("bolt/golden/normal/n.png",)
    assert golden.labels.anomalous == ("bolt/golden/crack/new.png",)
    assert golden.anomalous[:, 0, 0, 0].tolist() == [20]
    assert len(of_none.anomalous) == 2


def test_without_a_defect_there_is_no_golden_set(read):
    """Normal images and masks alone judge nothing."""
    assert read(bucket("normal/n.png", "masks/m.png")) is None


def test_a_golden_image_in_no_folder_is_refused(read):
    """Whether it is normal or a defect must be said."""
    with pytest.raises(InvalidImageError, match=r"got bolt/golden/a\.png: move it"):
        read(bucket("a.png", "crack/b.png"))


def test_a_golden_image_that_cannot_be_read_is_named(read):
    """Whoever put it there finds it by its key."""
    store = bucket("crack/a.png")
    store.objects["bolt/golden/crack/b.png"] = b"no picture"

    with pytest.raises(InvalidImageError, match=r"golden image bolt/golden/crack/b\.png: "):
        read(store)


def test_unchanged_golden_images_are_downloaded_once(tmp_path):
    """A second reading asks for the listing alone; a changed or new image is downloaded, and one
    that is gone is forgotten."""
    store = bucket("crack/a.png", "crack/b.png", "masks/crack/a.png", "normal/n.png")
    cache = ContentCache(tmp_path)

    first = read_golden_images(store, cache, LAYOUT, ImageLimits())
    again = read_golden_images(store, ContentCache(tmp_path), LAYOUT, ImageLimits())
    downloads = list(store.read_keys)
    store.objects["bolt/golden/crack/a.png"] = store.objects["bolt/golden/masks/crack/a.png"]
    store.objects["bolt/golden/dent/d.png"] = b"new"
    del store.objects["bolt/golden/crack/b.png"]
    changed = read_golden_images(store, cache, LAYOUT, ImageLimits())

    assert downloads == [image.key for image in first.images]
    assert again.hashes == first.hashes
    assert len({image.sha256 for image in first.images}) == 3
    assert store.read_keys[3:] == ["bolt/golden/crack/a.png", "bolt/golden/dent/d.png"]
    assert {image.key: image.sha256 for image in changed.images} == {
        key: sha256(content).hexdigest()
        for key, content in store.objects.items()
        if "masks" not in key
    }
    assert changed.read(changed.images[1]) == b"new"


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: path.write_bytes(b"{cut o"), id="cut off"),
        pytest.param(lambda path: path.unlink(), id="gone"),
    ],
)
def test_without_a_note_golden_images_are_downloaded_again(tmp_path, spoil):
    """The note of ETags can be lost at any time."""
    store, cache = bucket("crack/a.png"), ContentCache(tmp_path)
    read_golden_images(store, cache, LAYOUT, ImageLimits())
    spoil(tmp_path / "golden" / "factory" / "bolt.json")

    again = read_golden_images(store, cache, LAYOUT, ImageLimits())

    assert again.read(again.images[0]) == store.objects["bolt/golden/crack/a.png"]
    assert len(store.read_keys) == 2


def test_bytes_that_left_the_cache_are_downloaded_again(tmp_path):
    """The cache can be emptied at any time."""
    store = bucket("crack/a.png")
    images = read_golden_images(store, ContentCache(tmp_path), LAYOUT, ImageLimits())

    elsewhere = replace(images, cache=ContentCache(tmp_path / "empty"))

    assert elsewhere.read(images.images[0]) == store.objects["bolt/golden/crack/a.png"]


def test_held_out_images_are_the_judges():
    """Images that train or calibrate never judge."""
    table = pd.concat([rows(["2026-04-01"], 5, split) for split in ("train", "judge")])

    assert choose_held_out(table)["split"].tolist() == ["judge"] * 5


def test_held_out_images_are_bounded(monkeypatch):
    """Of each night the lowest hashes, of all the newest nights."""
    few = replace(LIMITS, max_normal_a_night=3, max_normal=5)
    monkeypatch.setattr("reconad_plugin.gate.golden.LIMITS", few)

    chosen = choose_held_out(rows(["2026-04-02", "2026-04-03", "2026-04-01"], 10))

    assert chosen["night"].tolist() == ["2026-04-02"] * 2 + ["2026-04-03"] * 3
    assert chosen["sha256"].tolist() == ["0001", "0002", "0000", "0001", "0002"]
