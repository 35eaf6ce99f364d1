"""The golden set: which folders it is read from, and which held-out images join."""

import io
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reconad_plugin.errors import InvalidImageError
from reconad_plugin.gate.golden import choose_held_out, read_golden
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectContent, ObjectInfo

LAYOUT = ProductLayout("bolt")


class FolderOfBytes:
    """Objects in memory, listed in order of key as a bucket lists them."""

    def __init__(self, objects):
        self._objects = objects

    def list_objects(self, prefix):
        return [ObjectInfo(key, "", 0) for key in sorted(self._objects) if key.startswith(prefix)]

    def read(self, key):
        return ObjectContent(self._objects[key], "null")


def bucket(*names):
    """A bucket with a picture under each of these names of ``bolt/golden/``."""
    objects = {}
    for shade, name in enumerate(names):
        buffer = io.BytesIO()
        Image.fromarray(np.full((40, 40, 3), 10 * shade, np.uint8)).save(buffer, "PNG")
        objects[f"bolt/golden/{name}"] = buffer.getvalue()
    return FolderOfBytes(objects)


def rows(nights, count, split="judge"):
    """Learnable rows: so many images of each night."""
    return pd.DataFrame(
        {"night": night, "sha256": f"{7 * place % count:04}", "split": split}
        for night in nights
        for place in range(count)
    )


def test_folders_name_the_defects():
    """Each folder is a type of defect; masks are none, and normal images have their folder."""
    store = bucket("stain/c.png", "crack/a.png", "normal/n.png", "masks/crack/a.png", "crack/b.png")

    golden = read_golden(store, LAYOUT, 32, ImageLimits())

    assert golden.labels.kind == "real"
    assert golden.labels.normal == ("bolt/golden/normal/n.png",)
    assert golden.labels.nights == ("",)
    names = [name.removeprefix("bolt/golden/") for name in golden.labels.anomalous]
    assert names == ["crack/a.png", "crack/b.png", "stain/c.png"]
    assert golden.labels.defects == ("crack", "crack", "stain")
    assert golden.anomalous[:, 0, 0, 0].tolist() == [10, 40, 0]
    assert golden.normal[:, 0, 0, 0].tolist() == [20]


def test_a_normal_image_that_was_learnt_does_not_judge():
    """Whoever learnt from it would be judged on its own lesson; nobody learns defects."""
    store = bucket("normal/learnt.png", "normal/new.png", "crack/a.png")
    learnt = ("bolt/golden/normal/learnt.png", "bolt/golden/crack/a.png")
    seen = {sha256(store.read(key).content).hexdigest() for key in learnt}

    golden = read_golden(store, LAYOUT, 32, ImageLimits(), seen)

    assert golden.labels.normal == ("bolt/golden/normal/new.png",)
    assert golden.normal[:, 0, 0, 0].tolist() == [10]
    assert golden.labels.defects == ("crack",)


def test_without_a_defect_there_is_no_golden_set():
    """Normal images and masks alone judge nothing."""
    assert read_golden(bucket("normal/n.png", "masks/m.png"), LAYOUT, 32, ImageLimits()) is None


def test_a_golden_image_in_no_folder_is_refused():
    """Whether it is normal or a defect must be said."""
    with pytest.raises(InvalidImageError, match=r"got bolt/golden/a\.png: move it"):
        read_golden(bucket("a.png", "crack/b.png"), LAYOUT, 32, ImageLimits())


def test_held_out_images_are_the_judges():
    """Images that train or calibrate never judge."""
    table = pd.concat([rows(["2026-04-01"], 5, split) for split in ("train", "judge")])

    assert choose_held_out(table)["split"].tolist() == ["judge"] * 5


def test_held_out_images_are_bounded(monkeypatch):
    """Of each night the lowest hashes, of all the newest nights."""
    monkeypatch.setattr("reconad_plugin.gate.golden.HELD_OUT_A_NIGHT", 3)
    monkeypatch.setattr("reconad_plugin.gate.golden.HELD_OUT", 5)

    chosen = choose_held_out(rows(["2026-04-02", "2026-04-03", "2026-04-01"], 10))

    assert chosen["night"].tolist() == ["2026-04-02"] * 2 + ["2026-04-03"] * 3
    assert chosen["sha256"].tolist() == ["0001", "0002", "0000", "0001", "0002"]
