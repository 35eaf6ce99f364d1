"""DSR's networks: their parts, its map and its score."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reconad_plugin.detector.torch_engine import score_images
from reconad_plugin.images.light import standard_light
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.dsr import Restriction, build_dsr
from reconad_plugin.networks.registry import model_spec
from tests.small_dsr import SIZE_PX, pictures, seeded, small


@pytest.mark.parametrize("size_px", [pytest.param(s, id=f"{s} pixels") for s in (32, 64, 128)])
@pytest.mark.parametrize("count", [pytest.param(n, id=f"{n} images") for n in (1, 2)])
def test_shapes(size_px, count):
    """Both pictures and both masks have a batch's shape."""
    network, image = small(size_px).eval(), pictures(count, size_px)

    seen = network.subspaces(image)
    anomaly_map = network.anomaly_map(image)

    assert seen.general.shape == seen.rebuilt.shape == network.reconstruct(image).shape
    assert seen.general.shape == image.shape
    assert seen.logits.shape == (count, 2, size_px, size_px)
    assert seen.fine.shape == (count, 8, size_px // 4, size_px // 4)
    assert anomaly_map.shape == network.subspaces.anomaly_map(image).shape
    assert anomaly_map.shape == (count, size_px, size_px)
    assert all(each.shape == anomaly_map.shape for each in network.maps(image))


def millions(module):
    """Weights of a module, codebooks and all."""
    tensors = [*module.parameters(), *(b for n, b in module.named_buffers() if n.endswith("sums"))]
    return sum(tensor.numel() for tensor in tensors) / 1e6


def test_parts_have_the_papers_size():
    """At the paper's width each part has as many weights as the authors'."""
    with torch.device("meta"):
        network = build_dsr(
            ImageSize.square(256), 128, 128, 4096, restriction_width=128, unet_width=64
        )

    parts = network.subspaces
    assert millions(parts.vq) == pytest.approx(1.93 + 2 * 4096 * 128 / 1e6, abs=0.01)
    assert millions(parts.coarse_restriction) == pytest.approx(7.82, abs=0.01)
    assert millions(parts.fine_restriction) == pytest.approx(7.82, abs=0.01)
    assert millions(parts.object_decoder) == pytest.approx(9.42, abs=0.01)
    assert millions(parts.detector) == pytest.approx(5.61, abs=0.01)
    assert millions(network.upsampler) == pytest.approx(5.61, abs=0.01)


@pytest.mark.parametrize(
    ("grid", "levels"),
    [
        pytest.param(grid, levels, id=f"{grid} cells")
        for grid, levels in ((4, 1), (8, 2), (16, 3), (32, 3), (128, 3))
    ],
)
def test_bottleneck_has_at_least_four_cells(grid, levels):
    """Grids are halved twice, or as often as leaves 4 x 4: one cell would be no picture."""
    network = small(grid * 8).subspaces.coarse_restriction

    pools = sum(isinstance(layer, nn.MaxPool2d) for layer in network.layers)
    assert pools == levels - 1


def test_restriction_has_no_skips():
    """What the bottleneck does not hold does not come out."""
    network = Restriction(8, 8, 3)
    network.layers[4][-1] = nn.Threshold(1e9, 0.0)  # the last layer before it rises again

    first, other = (network(torch.randn(1, 8, 16, 16, generator=seeded(s))) for s in (0, 1))

    torch.testing.assert_close(first, other)


def test_skips_of_the_detector_reach_the_output():
    """Each level of the U-Net has a part in the result."""
    network = small().subspaces.detector

    network(torch.rand(2, 6, 32, 32, generator=seeded())).square().sum().backward()

    assert all(p.grad is not None for p in network.parameters())
    assert len(network.down) == 4


def test_map_and_score_by_hand():
    """The map is the sharp probability; the score the best window mean of the coarse one."""
    network, pixels = small().eval(), (255 * pictures(2)).byte()
    # laid out as when scored: a processor may sum in another order otherwise, and a code flip
    image = (pixels / 255).contiguous(memory_format=torch.channels_last)

    with torch.inference_mode():
        picture = standard_light(image, like=image)
        seen = network.subspaces(picture)
        coarse = seen.logits.softmax(1)
        sharp = network.upsampler(torch.cat([seen.rebuilt, seen.general, coarse], 1)).softmax(1)
        found = network.anomaly_map(image)
    window = model_spec("dsr").score_window_px(ImageSize.square(SIZE_PX))
    scores = score_images(network, pixels, window)

    torch.testing.assert_close(found, sharp[:, 1])
    torch.testing.assert_close(torch.from_numpy(scores.anomaly_map), found)
    assert window == 5  # 21 of 256 pixels are 5.25 of 64
    padded = F.pad(coarse[:, 1], (2, 2, 2, 2))
    means = padded.unfold(1, window, 1).unfold(2, window, 1).mean((-2, -1))
    torch.testing.assert_close(torch.from_numpy(scores.pred_score).float(), means.amax((1, 2)))
    assert model_spec("dsr").score_window_px(ImageSize.square(256)) == 21


def test_map_and_score_come_from_one_pass():
    """The codes of an image are found once for both."""
    network, passes = small().eval(), []
    network.subspaces.vq.fine_encoder.register_forward_hook(lambda *_: passes.append(1))

    score_images(network, (255 * pictures(3)).byte(), 5)

    assert len(passes) == 1


def test_light_does_not_matter(other_light):
    """A picture that is darker or of less contrast has nearly the same map."""
    network, image = small().eval(), pictures(2)

    with torch.inference_mode():
        usual, dimmed = network.anomaly_map(image), network.anomaly_map(other_light(image))

    # A feature between two codes may fall to either, so a few pixels can differ.
    assert (usual - dimmed).abs().mean() < 5e-3


def test_flat_picture_has_a_finite_map():
    """A picture without contrast, such as a covered lens, can be scored."""
    network = small().eval()

    for shade in (0.0, 0.5, 1.0):
        flat = torch.full((1, 3, SIZE_PX, SIZE_PX), shade)
        assert torch.isfinite(network.anomaly_map(flat)).all()
        assert torch.isfinite(network.maps(flat)[1]).all()
