"""Pictures of any shape to the square that a network takes."""

import numpy as np
import pytest
import torch

from reconad_plugin.images.geometry import stack_images, to_square


def test_square_of_the_right_size_is_unchanged(speckle):
    """A picture that has the size already keeps every pixel."""
    square = speckle[:20, :20]

    np.testing.assert_array_equal(to_square(square, 20), square)


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

    square = to_square(image, 32)

    assert square.shape == (32, 32, 3)
    assert square.dtype == np.uint8
    assert (square == (200, 100, 50)).all()


def test_nothing_is_cropped():
    """The left and the right end of a wide picture are both in the square."""
    image = np.zeros((16, 160, 3), dtype=np.uint8)
    image[:, :10] = 255
    image[:, -10:] = 255

    square = to_square(image, 32)

    assert square[:, 0].min() > 200
    assert square[:, -1].min() > 200
    assert square[:, 16].max() == 0


def test_shrinking_is_antialiased():
    """Lines of one pixel fade to the mean; they neither vanish nor fill the square."""
    image = np.zeros((256, 256, 3), dtype=np.uint8)
    image[:, ::8] = 248

    square = to_square(image, 32)

    assert square.mean() == pytest.approx(31, abs=2)
    assert square.max() < 80


def test_stack_is_channels_first_in_order(speckle):
    """Pictures of different shapes become one (N, 3, S, S) tensor in their order."""
    red = np.zeros((40, 17, 3), dtype=np.uint8)
    red[..., 0] = 255

    batch = stack_images([speckle, red], 32)

    assert batch.shape == (2, 3, 32, 32)
    assert batch.dtype == torch.uint8
    assert batch.is_contiguous()
    assert batch[1].amax((1, 2)).tolist() == [255, 0, 0]
    np.testing.assert_array_equal(batch[0].permute(1, 2, 0).numpy(), to_square(speckle, 32))


def test_stack_of_nothing_is_empty():
    """No pictures give an empty batch of the right shape."""
    assert stack_images([], 32).shape == (0, 3, 32, 32)
