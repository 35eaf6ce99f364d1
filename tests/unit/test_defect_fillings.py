"""Which confirmed defects a product's trainings are filled from, and what is cut out of them."""

from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from flows.jobs.defect_fillings import (
    MOST_BESIDE,
    MOST_NORMAL,
    Fillings,
    choose_fillings,
    cut_fillings,
)
from flows.jobs.product import Product
from reconad_plugin.config.product import ProductSettings
from reconad_plugin.errors import StorageUnreachableError
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.layout import ProductLayout
from tests.factory import to_png
from tests.fake_s3 import FakeS3, refusal, store_of

ALLOWED = ProductSettings(defects_as_fillings=True)
PICTURES = {name: to_png(np.full((20, 20, 3), 9 * n, np.uint8)) for n, name in enumerate("abc")}


@pytest.fixture
def bucket():
    """Three pictures of defects."""
    return FakeS3({f"bolt/incoming/{name}": content for name, content in PICTURES.items()})


@pytest.fixture
def chosen(bucket, tmp_path):
    """The names of the defects that a product with these settings is filled from."""
    names = list(PICTURES)
    hashes = [sha256(content).hexdigest() for content in PICTURES.values()]
    keys = [f"bolt/incoming/{name}" for name in names]
    rows = pd.DataFrame({"key": keys, "sha256": hashes, "night": "2024-05-01", "position": ""})
    ledger = SimpleNamespace(fillings=lambda: rows, beside=lambda night, position: rows[:0])

    def choose(settings=ALLOWED):
        store, layout = store_of(bucket), ProductLayout("bolt")
        cache = ContentCache(tmp_path)
        product = Product("bolt", settings, "", "lean", store, cache, layout, records=None)
        found = choose_fillings(product, ledger).defects.reindex(columns=["uri", "key"])
        assert found["uri"].tolist() == [f"s3://factory/{key}" for key in found["key"]]
        return [key[-1] for key in found["key"]]

    return choose


def test_defects_fill_where_the_product_allows_it(chosen, bucket):
    """By default nothing of them is even read."""
    assert chosen(ProductSettings()) == []
    assert bucket.read == []
    assert chosen() == ["a", "b", "c"]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda bucket, key: bucket.objects.pop(key), id="gone"),
        pytest.param(lambda bucket, key: bucket.objects.update({key: b"x"}), id="other bytes"),
        pytest.param(
            lambda bucket, key: bucket.refused.update({key: refusal("AccessDenied", "No.", 403)}),
            id="not handed out",
        ),
    ],
)
def test_what_cannot_be_read_stops_no_training(chosen, bucket, caplog, spoil):
    """The others fill, and a line says which one is left out and why."""
    spoil(bucket, "bolt/incoming/b")

    assert chosen() == ["a", "c"]
    (line,) = caplog.messages
    assert line.startswith("bolt/incoming/b of bolt cannot be read: ")
    assert line.endswith("; simulated anomalies go without it")


def test_what_is_no_picture_any_more_stops_no_training(chosen, caplog):
    """Such as where the product takes smaller pictures only than when it came."""
    assert chosen(ALLOWED.model_copy(update={"max_image_pixels": 10})) == []
    assert len(caplog.messages) == 3


def test_a_bucket_that_does_not_answer_is_not_taken_for_no_defects(chosen, bucket):
    """Or the same night would lead to another training when it answers again."""
    bucket.refused["bolt/incoming/a"] = refusal("SlowDown", "Later.", 503)

    with pytest.raises(StorageUnreachableError):
        chosen()


@pytest.mark.parametrize(
    ("count", "told"),
    [
        pytest.param(5, 0, id="too few to tell"),
        pytest.param(6, 6, id="enough"),
        pytest.param(90, MOST_BESIDE, id="spread evenly"),
    ],
)
def test_a_defect_is_held_against_its_own_night_too(tmp_path, count, told):
    """Where enough images of its position arrived with it; what they are decides the weights."""
    names = [f"{number:02}" for number in range(count)]
    contents = [to_png(np.full((20, 20, 3), number, np.uint8)) for number in range(count)]
    bucket = store_of(FakeS3(dict(zip(names, contents, strict=True))))
    rows = pd.DataFrame(
        {
            "key": names,
            "sha256": [sha256(content).hexdigest() for content in contents],
            "night": "2024-05-01",
            "position": "left",
        }
    )
    ledger = SimpleNamespace(fillings=lambda: rows[:2], beside=lambda night, position: rows)
    cache = ContentCache(tmp_path)
    bolt = Product("bolt", ALLOWED, "", "lean", bucket, cache, ProductLayout("bolt"), records=None)

    found = choose_fillings(bolt, ledger)

    (beside,) = set(found.defects["beside"])
    assert len(found.beside[beside]) == told
    assert beside.split() == found.beside[beside]["sha256"].tolist()


def fillings_of(*positions, beside=None):
    """Defects at these positions, with the images that arrived with them."""
    defects = rows_of(*positions).assign(is_defect=True, beside="")
    return Fillings(defects, {"": rows_of() if beside is None else beside})


def rows_of(*positions):
    """Rows of images at these positions, numbered."""
    return pd.DataFrame({"number": range(len(positions)), "position": positions})


def test_a_defect_is_held_against_its_own_position():
    """Each position looks different; where few images of one are known, all of them tell."""
    loaded = []

    def load(rows):
        """Left is dark and right is bright, and a defect is a red corner."""
        loaded.append(rows["number"].tolist())
        level = {"left": 60, "right": 180, "top": 120}
        pixels = torch.stack([torch.full((3, 32, 32), level[each]) for each in rows["position"]])
        pixels += torch.randint(-3, 4, pixels.shape)
        if "is_defect" in rows:
            pixels[:, :, :6, 26:] = torch.tensor([250, 5, 5]).view(3, 1, 1)
        return pixels.byte()

    train = rows_of(*["left"] * 8, *["right"] * 8, "top")
    cuts = cut_fillings(fillings_of("left", "top", "left"), train, load)

    assert cuts.sides.shape == (3, 2)
    assert loaded == [list(range(8)), [0, 2], list(range(17)), [1]]
    for first, (height, width) in zip(cuts.first, cuts.sides, strict=True):
        cut = cuts.pixels[first : first + height * width]
        assert (cut == torch.tensor([250, 5, 5])).all(1).float().mean() > 0.6


def test_only_so_many_normal_images_are_read():
    """Spread evenly, the first and the last among them."""
    loaded = []

    def load(rows):
        loaded.append(rows["number"].tolist())
        return torch.zeros(len(rows), 3, 8, 8, dtype=torch.uint8)

    cut_fillings(fillings_of(""), rows_of(*[""] * 500), load)

    assert len(loaded[0]) == MOST_NORMAL
    assert (loaded[0][0], loaded[0][-1]) == (0, 499)


def test_without_defects_nothing_is_read():
    """No cut, and no picture of a normal image."""
    assert cut_fillings(fillings_of(), rows_of("left"), load=None) is None
