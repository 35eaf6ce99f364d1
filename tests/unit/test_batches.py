"""Batches of normal images: which images, in which order, varied how."""

import numpy as np
import pytest
import torch
from torch import Generator

from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.training.batches import Batches


def numbered(count):
    """Images that are flat in their own number, (count, 3, 8, 8)."""
    return torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).clone()


def numbers_in(batch):
    """The numbers of a batch's images."""
    return (batch[:, 0, 0, 0] * 255).round().int().tolist()


def batches_of(images, batch_size, seed=0, **settings):
    """Batches with the variations of some settings."""
    generator = Generator().manual_seed(seed)
    return Batches(images, batch_size, TrainingSettings(**settings), generator, "cpu")


def test_batch_is_float_in_the_networks_memory_order():
    """Bytes become [0, 1], channels last."""
    batch = batches_of(numbered(200)[100:], 4).draw()

    assert batch.shape == (4, 3, 8, 8)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert 100 / 255 <= batch.min() <= batch.max() <= 199 / 255


def test_every_image_comes_once_a_round():
    """Eight images in batches of four: two batches hold them all, in an order that changes."""
    batches = batches_of(numbered(8), 4)

    rounds = [numbers_in(batches.draw()) + numbers_in(batches.draw()) for _ in range(4)]

    assert all(sorted(one) == list(range(8)) for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1


def test_images_that_fill_no_batch_come_next():
    """Where batches do not divide the images, each still comes as often as the others."""
    batches = batches_of(numbered(7), 4)

    drawn = [number for _ in range(7) for number in numbers_in(batches.draw())]

    assert all(sorted(drawn[start : start + 7]) == list(range(7)) for start in range(0, 28, 7))


def test_batch_larger_than_all_images_holds_them_several_times():
    """Three images make a batch of eight, each at least twice."""
    batch = batches_of(numbered(3), 8).draw()

    assert len(batch) == 8
    assert torch.bincount(torch.tensor(numbers_in(batch))).min() >= 2


def test_single_image_fills_batches():
    """One image is a batch as often as it takes."""
    batches = batches_of(numbered(1) + 5, 3)

    assert numbers_in(batches.draw()) == numbers_in(batches.draw()) == [5, 5, 5]


def test_order_follows_the_seed():
    """The same seed gives the same batches, another gives others."""
    first, again, other = (
        [numbers_in(batches.draw()) for _ in range(5)]
        for batches in (batches_of(numbered(16), 4, seed) for seed in (5, 5, 6))
    )

    assert first == again
    assert first != other


def test_rest_of_a_round_and_the_generator_are_all_there_is_to_remember():
    """Batches with both put back go on as the first would have."""
    generator = Generator().manual_seed(0)
    settings = TrainingSettings(light_augmentation=True)
    batches = Batches(numbered(7), 4, settings, generator, "cpu")
    for _ in range(3):
        batches.draw()
    state, order = generator.get_state(), batches.order.clone()
    expected = torch.stack([batches.draw() for _ in range(5)])

    other = Generator()
    other.set_state(state)
    later = Batches(numbered(7), 4, settings, other, "cpu")
    later.order = order

    assert torch.equal(torch.stack([later.draw() for _ in range(5)]), expected)


@pytest.mark.parametrize(
    ("is_varied", "changes"),
    [
        pytest.param(False, False, id="as they are"),
        pytest.param(True, True, id="with the light varied"),
    ],
)
def test_light_is_varied_where_it_is_asked_for(is_varied, changes):
    """Batches are the images themselves, or the images under other lamps."""
    images = torch.full((4, 3, 8, 8), 102, dtype=torch.uint8)

    batch = batches_of(images, 4, light_augmentation=is_varied).draw()

    assert bool((batch != 102 / 255).any()) is changes
    assert 0 <= batch.min() <= batch.max() <= 1


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        pytest.param("none", 1, id="a fixed camera"),
        pytest.param("mirror", 4, id="mirrored parts"),
        pytest.param("rotate", 1000, id="parts at any angle"),
    ],
)
def test_geometry_is_varied_as_the_product_allows(kind, most):
    """One picture comes in one, in four or in many poses."""
    image = torch.randint(0, 256, (1, 3, 8, 8), generator=Generator().manual_seed(1)).byte()

    batch = batches_of(image, 64, geometric_augmentation=kind).draw()

    poses = {one.numpy().tobytes() for one in batch}
    assert len(poses) == most if most < 5 else 8 < len(poses) <= 64


def test_images_are_not_changed():
    """Variation happens to the batch alone."""
    images = numbered(8)
    before = images.clone()
    batches = batches_of(images, 8, light_augmentation=True, geometric_augmentation="rotate")

    batches.draw().zero_()

    assert torch.equal(images, before)


def test_images_may_be_a_mapped_file(tmp_path):
    """Pixels on the disk are as good as pixels in memory."""
    images = numbered(9)
    images.numpy().tofile(tmp_path / "pixels")
    mapped = torch.from_numpy(np.memmap(tmp_path / "pixels", np.uint8, "c", shape=(9, 3, 8, 8)))

    assert torch.equal(batches_of(mapped, 4).draw(), batches_of(images, 4).draw())
