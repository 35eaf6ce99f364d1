"""Pictures of any shape to the square that a network takes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from reconad_plugin.errors import InvalidImageError
from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.geometry import decode_to_size, resize, stack_images, to_size
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize

LIMITS = ImageLimits()


@pytest.fixture(scope="module")
def scene():
    """(300, 410, 3) uint8 of smooth colours with some grain and a sharp dark square."""
    y, x = np.mgrid[0:300, 0:410]
    waves = [120 + 60 * np.sin(x / 31 + phase) * np.cos(y / 23) for phase in range(3)]
    grain = np.random.default_rng(0).normal(0, 6, (300, 410, 3))
    picture = (np.stack(waves, axis=-1) + grain).clip(0, 255).astype(np.uint8)
    picture[100:160, 200:260] = 20
    return picture


def test_square_of_the_right_size_is_unchanged(speckle):
    """A picture that has the size already keeps every pixel."""
    square = speckle[:20, :20]

    np.testing.assert_array_equal(to_size(square, ImageSize.square(20)), square)


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((20, 300, 3), id="wide"),
        pytest.param((300, 20, 3), id="high"),
        pytest.param((16, 16, 3), id="smaller than the square"),
    ],
)
def test_any_shape_becomes_the_square(shape):
    """A flat picture of any shape becomes a flat square of the same colour."""
    image = np.empty(shape, dtype=np.uint8)
    image[:] = (200, 100, 50)

    square = to_size(image, ImageSize.square(32))

    assert square.shape == (32, 32, 3)
    assert square.dtype == np.uint8
    assert (square == (200, 100, 50)).all()


def test_nothing_is_cropped():
    """The left and the right end of a wide picture are both in the square."""
    image = np.zeros((16, 160, 3), dtype=np.uint8)
    image[:, :10] = 255
    image[:, -10:] = 255

    square = to_size(image, ImageSize.square(32))

    assert square[:, 0].min() > 200
    assert square[:, -1].min() > 200
    assert square[:, 16].max() == 0


def test_shrinking_is_antialiased():
    """Lines of one pixel fade to the mean; they neither vanish nor fill the square."""
    image = np.zeros((256, 256, 3), dtype=np.uint8)
    image[:, ::8] = 248

    square = to_size(image, ImageSize.square(32))

    assert square.mean() == pytest.approx(31, abs=2)
    assert square.max() < 80


def test_stack_is_channels_first_in_order(speckle):
    """Pictures of different shapes become one (N, 3, S, S) array in their order."""
    red = np.zeros((40, 17, 3), dtype=np.uint8)
    red[..., 0] = 255

    batch = stack_images([speckle, red], ImageSize.square(32))

    assert batch.shape == (2, 3, 32, 32)
    assert batch.dtype == np.uint8
    assert batch.flags.c_contiguous
    assert batch[1].max((1, 2)).tolist() == [255, 0, 0]
    np.testing.assert_array_equal(
        batch[0].transpose(1, 2, 0), to_size(speckle, ImageSize.square(32))
    )


def test_stack_of_nothing_is_empty():
    """No pictures give an empty batch of the right shape."""
    assert stack_images([], ImageSize.square(32)).shape == (0, 3, 32, 32)


@pytest.mark.parametrize("size_px", [pytest.param(s, id=f"{s} pixels") for s in (32, 64, 128, 256)])
def test_small_jpeg_is_nearly_that_of_a_full_decode(encode, scene, size_px):
    """A JPEG that is decoded at a fraction of its size looks as if it were decoded in full."""
    whole_blocks = encode(scene[:296, :408], "JPEG", quality=92)
    odd_sides = encode(scene, "JPEG", quality=92)  # the last block is cut: within a pixel aside

    for content, most in ((whole_blocks, 2), (odd_sides, 5)):
        quick, full = (
            decode_to_size(content, ImageSize.square(size_px), LIMITS),
            to_size(decode_image(content), ImageSize.square(size_px)),
        )

        assert quick.shape == (size_px, size_px, 3)
        assert np.abs(quick.astype(int) - full).mean() < most


@pytest.mark.parametrize(
    ("smallest_px", "shape"),
    [
        pytest.param(32, (38, 52, 3), id="an eighth"),
        pytest.param(38, (75, 103, 3), id="a quarter, as an eighth of 300 is less than 38"),
        pytest.param(75, (75, 103, 3), id="a quarter"),
        pytest.param(76, (150, 205, 3), id="a half"),
        pytest.param(151, (300, 410, 3), id="in full"),
        pytest.param(1024, (300, 410, 3), id="in full, as it is enlarged anyway"),
        pytest.param(None, (300, 410, 3), id="in full, as nothing is said"),
    ],
)
def test_jpeg_is_never_decoded_smaller_than_it_is_needed(encode, scene, smallest_px, shape):
    """Of an eighth, a quarter, a half and the whole the smallest that is large enough is taken."""
    found = decode_image(
        encode(scene, "JPEG"), LIMITS, smallest_px and ImageSize.square(smallest_px)
    )

    assert found.shape == shape
    if smallest_px is not None and smallest_px <= 300:
        assert min(found.shape[:2]) >= smallest_px


@pytest.mark.parametrize("file_format", [pytest.param(f, id=f) for f in ("PNG", "BMP", "TIFF")])
def test_other_formats_are_decoded_in_full(encode, scene, file_format):
    """Where nothing can be left out every pixel is there."""
    found = decode_image(encode(scene, file_format), LIMITS, smallest=ImageSize.square(32))

    np.testing.assert_array_equal(found, scene)


@pytest.mark.parametrize("share", [pytest.param(s, id=f"{s:.0%} left") for s in (0.3, 0.7, 0.99)])
def test_cut_jpeg_is_an_error_at_every_size(encode, scene, share):
    """A file of which the end is missing is refused, however little of it is needed."""
    content = encode(scene, "JPEG")

    with pytest.raises(InvalidImageError, match="must end with its end mark") as raised:
        decode_to_size(content[: int(share * len(content))], ImageSize.square(32), LIMITS)

    assert raised.value.reason == "truncated"


def test_limits_hold_for_the_size_in_the_file(encode, scene):
    """A JPEG is refused for the pixels that it has, not for those that would be decoded."""
    content = encode(scene, "JPEG")

    with pytest.raises(InvalidImageError, match="at most 100,000 pixels; got 410 x 300"):
        decode_to_size(content, ImageSize.square(32), ImageLimits(max_pixels=100_000))
    with pytest.raises(InvalidImageError, match="at least 301 px; got 410 x 300"):
        decode_to_size(content, ImageSize.square(32), ImageLimits(min_side_px=301))


@pytest.mark.parametrize(
    "mode", [pytest.param("L", id="grey"), pytest.param("CMYK", id="four colours")]
)
def test_small_jpeg_of_other_colours_is_rgb(encode, scene, mode):
    """Grey and four-colour JPEGs become RGB at a fraction of their size too."""
    content = encode(Image.fromarray(scene).convert(mode), "JPEG", quality=92)

    quick = decode_to_size(content, ImageSize.square(64), LIMITS)

    full = to_size(decode_image(content), ImageSize.square(64))
    assert np.abs(quick.astype(int) - full).mean() < 3
    if mode == "L":
        assert (quick[..., 0] == quick[..., 1]).all()


def test_orientation_of_a_small_jpeg_is_applied(encode, scene):
    """The camera's orientation tag is not lost."""
    tags = Image.Exif()
    tags[0x0112] = 6
    content = encode(scene, "JPEG", exif=tags)

    assert decode_image(content, LIMITS, smallest=ImageSize.square(64)).shape == (103, 75, 3)
    turned = to_size(np.rot90(scene, -1), ImageSize.square(64))
    assert (
        np.abs(decode_to_size(content, ImageSize.square(64), LIMITS).astype(int) - turned).mean()
        < 4
    )


def test_progressive_jpeg_can_be_decoded_small(encode, scene):
    """The other kind of JPEG as well."""
    content = encode(scene, "JPEG", progressive=True)

    assert decode_image(content, LIMITS, smallest=ImageSize.square(64)).shape == (75, 103, 3)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param((96, 144), (32, 48), id="a third"),
        pytest.param((97, 130), (32, 48), id="no whole number"),
        pytest.param((40, 60), (64, 96), id="larger"),
    ],
)
def test_pictures_are_resized_as_pytorch_does(before, after):
    """To the pixel, but for one in a hundred that lies half between two levels: which of them it
    becomes depends on the processor there too."""
    images = np.random.default_rng(0).integers(0, 256, (2, 3, *before), np.uint8)

    found = resize(images, ImageSize(*after))

    floats = torch.from_numpy(images).float()
    expected = F.interpolate(floats, after, mode="bilinear", antialias=True).round().byte().numpy()
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.02
