"""Where to look: what a mask or a box must be, and where it is found."""

import numpy as np
import pandas as pd
import pytest

from flows.jobs import product as product_module
from flows.jobs.product import Product
from reconad_plugin.config.product import ProductSettings
from reconad_plugin.errors import ConfigError, InvalidImageError, ReconadError
from reconad_plugin.images.region import PRODUCT, Box, Region, draw_boxes, read_region
from reconad_plugin.images.size import ImageSize
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.regions import find_region
from tests.fake_s3 import FakeS3, store_of

SIZE_PX = 32
SIZE = ImageSize.square(SIZE_PX)
LEFT = np.zeros((SIZE_PX, SIZE_PX), np.bool_)
LEFT[8:20, :16] = True
RIGHT = np.fliplr(LEFT)
ROWS = pd.DataFrame(
    {"position": ["left", "", "right"], "width_px": 64, "height_px": 48}, index=[4, 7, 9]
)


@pytest.fixture
def png(encode):
    """A mask as the bytes of a PNG."""
    return lambda mask: encode(mask.astype(np.uint8) * 255, "PNG")


def test_half_of_a_pixel_of_the_network_must_be_inside(png):
    """Of four pixels that become one, three count, two do, and one does not."""
    drawn = np.array([[1, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]], np.bool_)

    region = read_region({PRODUCT: png(drawn)}, ImageSize.square(2), {(400, 400)})

    assert region.union.tolist() == [[True, True], [False, False]]


@pytest.mark.parametrize(
    ("content", "size_px", "message"),
    [
        pytest.param(b"\xff\xd8 jpeg", 32, "must be a PNG that is black outside; got 7", id="JPEG"),
        pytest.param(b"white", 32, "must be a PNG that is black outside; got 5 bytes", id="text"),
        pytest.param(b"", 32, "must be a PNG that is black outside; got 0 bytes", id="nothing"),
        pytest.param((48, 64, 0, 0), 32, "region: a region must be above 0", id="black"),
        pytest.param(
            (64, 48, 9, 9),
            32,
            "region: a mask must have the shape of its picture; it is 48 x 64, the picture 64 x 48",
            id="other shape",
        ),
        pytest.param(
            (480, 640, 2, 2),
            32,
            "region: a region must cover a pixel of the 32 x 32 that the network sees",
            id="too small for the network",
        ),
    ],
)  # fmt: skip
def test_what_is_no_region_is_refused(png, content, size_px, message):
    """Each with its sentence."""
    if isinstance(content, tuple):
        height, width, *marked = content
        mask = np.zeros((height, width), np.bool_)
        mask[: marked[0], : marked[1]] = True
        content = png(mask)

    with pytest.raises(ReconadError, match=message):
        read_region({PRODUCT: content}, ImageSize.square(size_px), {(64, 48)})


def test_a_crop_may_have_changed(png):
    """Where pictures have two shapes, a region has one of them."""
    drawn = np.ones((48, 64), np.bool_)

    assert read_region({PRODUCT: png(drawn)}, SIZE, {(64, 48), (64, 64)}).share == 1
    with pytest.raises(InvalidImageError, match="it is 64 x 48, the picture 64 x 64"):
        read_region({PRODUCT: png(drawn)}, SIZE, {(64, 60), (64, 64)})


@pytest.mark.parametrize(
    "shares",
    [
        pytest.param((0.8, 0, 0.3, 1), id="beyond the right"),
        pytest.param((-0.1, 0, 0.3, 1), id="beyond the left"),
        pytest.param((0, 0, 0.3, 0), id="empty"),
        pytest.param((120, 40, 30, 20), id="pixels"),
        pytest.param((float("nan"), 0, 0.3, 1), id="no number"),
    ],
)
def test_a_box_lies_within_the_picture(shares):
    """Also where it is given in pixels, which would lie outside."""
    with pytest.raises(ConfigError, match="in shares of its width and height from 0 to 1; got x"):
        Box(*shares)


def test_boxes_are_drawn_by_position():
    """Boxes of a position are united; those without one are of the product."""
    boxes = Box(0, 0.25, 0.5, 0.25), Box(0, 0.5, 0.5, 0.125), Box(0.5, 0.25, 0.5, 0.375, "right")

    region = draw_boxes(boxes, SIZE)

    assert np.array_equal(region.masks[PRODUCT], LEFT)
    assert np.array_equal(region.masks["right"], RIGHT)
    with pytest.raises(ConfigError, match="must cover a pixel of the 32 x 32"):
        draw_boxes([Box(0.5, 0.5, 0.01, 0.01)], SIZE)


def test_a_position_has_its_own_mask_else_the_products():
    """A picture of an unknown position is looked at wherever any is."""
    both = LEFT | RIGHT
    own, of_all = Region({"left": LEFT, "right": RIGHT}), Region({"left": LEFT, PRODUCT: RIGHT})

    assert np.array_equal(own.union, both)
    assert np.array_equal(own.of(["left", "right", "top"]), [LEFT, RIGHT, both])
    assert np.array_equal(of_all.of(["left", "", "top"]), [LEFT, RIGHT, RIGHT])
    assert own.positions == {"left", "right"}
    assert len({own.sha256, of_all.sha256, Region({PRODUCT: LEFT}).sha256}) == 3


def bucket(**files):
    """A bucket with these files under ``bolt/regions/``."""
    objects = {f"bolt/regions/{name.replace('__', '.')}": each for name, each in files.items()}
    return store_of(FakeS3(objects))


def found_in(store, *boxes):
    """The region of the product bolt."""
    return find_region(store, ProductLayout("bolt"), boxes, SIZE, {(64, 48)})


def test_masks_lie_in_the_bucket_by_position(png):
    """``region.png`` is of the product; what is no picture by its name is passed over."""
    wide = np.zeros((48, 64), np.bool_)
    wide[12:30, :32] = True
    store = bucket(region__png=png(wide), right__PNG=png(np.fliplr(wide)), README__txt=b"where")

    region = found_in(store)

    assert np.array_equal(region.masks[PRODUCT], LEFT)
    assert np.array_equal(region.masks["right"], RIGHT)
    assert found_in(bucket()) is None


def test_a_region_that_is_no_png_is_refused(png):
    """It is not passed over: all of the picture would count then."""
    with pytest.raises(InvalidImageError, match="region of left: a region must be a PNG"):
        found_in(bucket(left__jpg=b"\xff\xd8\xff"))


def test_boxes_of_the_settings_come_first(png):
    """Then the bucket is not asked."""
    region = found_in(bucket(region__png=b"broken"), Box(0, 0.25, 0.5, 0.375))

    assert np.array_equal(region.union, LEFT)


@pytest.mark.parametrize("position", ["right", "top"])
def test_a_region_of_an_unknown_position_is_a_warning(monkeypatch, caplog, position):
    """Its name may be wrong, or the camera silent."""
    monkeypatch.setattr(product_module, "find_region", lambda *_: Region({position: LEFT}))
    settings = ProductSettings()
    bolt = Product("bolt", settings, "", "lean", None, None, ProductLayout("bolt"), None)

    bolt.region(ROWS, SIZE)

    warned = "for camera positions that no image came from: top; they came from left, right"
    assert (warned in caplog.text) == (position == "top")


def test_a_region_has_the_shape_of_what_the_network_sees(png):
    """Pictures keep their shape: a region of 64 x 48 is 3 by 4 of it."""
    wide = np.zeros((48, 64), np.bool_)
    wide[12:30, :32] = True

    region = read_region({PRODUCT: png(wide)}, ImageSize(48, 64), {(640, 480)})
    boxes = draw_boxes([Box(0, 0.25, 0.5, 0.375)], ImageSize(48, 64))

    assert np.array_equal(region.union, wide)
    assert np.array_equal(boxes.union, wide)
