"""The first stage of DSR: pictures as codes, how it learns, and its files."""

import copy

import pytest
import torch
from safetensors.torch import save_file
from torch import Generator

from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.errors import CodebookCollapsedError, ModelFormatError
from reconad_plugin.images.light import STANDARD_DEVIATION, standard_light
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.base import hash_weights
from reconad_plugin.networks.vq import build_vq
from reconad_plugin.networks.vq_weights import _PUBLISHED, read_vq
from reconad_plugin.simulation.textures import Textures, load_textures
from reconad_plugin.training import loop
from reconad_plugin.training.loop import RunOptions
from reconad_plugin.training.recipe import Simulation
from reconad_plugin.training.vq import (
    SETTLED_AFTER,
    VqRecipe,
    check_codebooks,
    check_perplexity,
    draw_imagery,
    pretrain_vq,
)

SIZE_PX = 32
SIZES = {"width": 16, "code_dim": 8, "codes": 32}
STEPS = 300


def seeded(seed=0):
    """A generator."""
    return Generator().manual_seed(seed)


def small():
    """A network of few weights, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_vq(ImageSize.square(SIZE_PX), **SIZES)


def pictures(count, size_px=SIZE_PX, seed=1):
    """(count, 3, S, S) float with room above and below."""
    return 0.35 + 0.2 * torch.rand(count, 3, size_px, size_px, generator=seeded(seed))


@pytest.fixture(scope="module")
def textures():
    """The packaged ones, small."""
    return load_textures(SIZE_PX)


@pytest.fixture(scope="module")
def pretrained(make_normal, textures):
    """An autoencoder that has learnt 50 similar images, and its report."""
    settings = TrainingSettings(steps=STEPS, batch_size=8)
    return pretrain_vq(make_normal(50, 1), make_normal(8, 2), textures, settings, 0, SIZES)


@pytest.mark.parametrize("size_px", [pytest.param(s, id=f"{s} pixels") for s in (32, 64)])
@pytest.mark.parametrize("count", [pytest.param(n, id=f"{n} images") for n in (1, 3)])
def test_shapes(size_px, count):
    """A fine grid of fourths and a coarse one of eighths, and a picture of the same size."""
    network, image = small().eval(), pictures(count, size_px)

    seen = network(image)

    assert seen.fine.codes.shape == (count, size_px // 4, size_px // 4)
    assert seen.coarse.codes.shape == (count, size_px // 8, size_px // 8)
    assert seen.fine.vectors.shape == (count, 8, size_px // 4, size_px // 4)
    assert seen.reconstruction.shape == network.reconstruct(image).shape == image.shape
    assert network.anomaly_map(image).shape == (count, size_px, size_px)


def test_fine_codes_know_the_coarse_ones():
    """Other coarse vectors change the fine features."""
    network = small().eval()
    encoded = network.fine_encoder(pictures(1))
    coarse = network.quantise_coarse(encoded).vectors

    first, other = (network.quantise_fine(encoded, each).features for each in (coarse, coarse + 1))

    assert not torch.allclose(first, other)


def test_light_does_not_matter():
    """A dimmer or hazier picture has the same codes."""
    network, image = small().eval(), pictures(2)
    hazy = 0.7 * image + 0.1

    codes, others = (network(standard_light(each, like=each)).fine.codes for each in (image, hazy))

    assert (codes == others).float().mean() > 0.99
    rebuilt, hazy_rebuilt = network.reconstruct(image), network.reconstruct(hazy)
    torch.testing.assert_close(hazy_rebuilt.mean(), 0.7 * rebuilt.mean() + 0.1, rtol=0, atol=0.01)


def test_losses_by_hand(monkeypatch):
    """Squared error in shares of the variance, and a quarter of both distances to the codes."""
    network = small().eval()
    recipe = VqRecipe(network, Simulation())
    seen = []
    network.register_forward_pre_hook(lambda module, parts: seen.append(parts[0]))

    losses = recipe.losses(pictures(4), seeded())

    out = network(seen[0])
    squared = (out.reconstruction - seen[0]).square().mean() / STANDARD_DEVIATION**2
    torch.testing.assert_close(losses["squared_error"], squared)
    for name, level in (("coarse", out.coarse), ("fine", out.fine)):
        distance = (level.features - level.vectors).square().mean()
        torch.testing.assert_close(losses[f"{name}_commitment"], 0.25 * distance)
    torch.testing.assert_close(losses["total"], sum(losses.values()) - losses["total"])


@pytest.mark.parametrize(
    ("count", "normal"),
    [pytest.param(1, 1, id="one image"), pytest.param(5, 3, id="five"), pytest.param(8, 4, id="8")],
)
def test_half_of_a_batch_is_imagery(count, normal):
    """The first images are the normal ones, in standard light; the others are something else."""
    network, image, seen = small().eval(), pictures(count), []
    network.register_forward_pre_hook(lambda module, parts: seen.append(parts[0]))

    VqRecipe(network, Simulation()).losses(image, seeded())

    expected = standard_light(image, like=image)
    torch.testing.assert_close(seen[0][:normal], expected[:normal])
    assert len(seen[0]) == count
    if count > 1:
        assert (seen[0][normal:] - expected[normal:]).abs().flatten(1).amax(1).min() > 0.05


def test_grey_images_come_with_grey_imagery():
    """A camera without colours needs no codes for them."""
    network, seen = small().eval(), []
    network.register_forward_pre_hook(lambda module, parts: seen.append(parts[0]))
    grey = pictures(6)[:, :1].expand(6, 3, SIZE_PX, SIZE_PX)

    VqRecipe(network, Simulation()).losses(grey, seeded())

    torch.testing.assert_close(seen[0][:, 0], seen[0][:, 2])


@pytest.mark.parametrize("count", [pytest.param(n, id=f"{n} pictures") for n in (0, 1, 2, 7)])
def test_imagery_is_half_textures(textures, count):
    """Any number of pictures in [0, 1], the same for the same seed."""
    first, again = (
        draw_imagery(count, ImageSize.square(SIZE_PX), textures, seeded()) for _ in range(2)
    )

    assert first.shape == (count, 3, SIZE_PX, SIZE_PX)
    assert ((first >= 0) & (first <= 1)).all()
    assert torch.equal(first, again)


def test_textures_come_whole():
    """The second half of the imagery shows the textures that were given, varied."""
    one = torch.full((1, 3, SIZE_PX, SIZE_PX), 120, dtype=torch.uint8)

    imagery = draw_imagery(8, ImageSize.square(SIZE_PX), Textures.of(one), seeded())

    assert imagery[4:].flatten(2).std(2).max() < 1e-3
    assert imagery[:4].flatten(2).std(2).max() > 0.01


def test_every_weight_learns():
    """Gradients reach encoders, both ways to the codes, and the decoder."""
    recipe = VqRecipe(small(), Simulation()).train()

    recipe.losses(pictures(4), seeded())["total"].backward()

    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in recipe.parameters())
    assert all(p.grad.abs().sum() > 0 for p in recipe.parameters())
    assert recipe.network.fine_codebook.batches == 1


def test_similar_images_use_many_codes(pretrained):
    """After 50 nearly equal images half of the codes or more are in use, and pictures come back."""
    _, report = pretrained

    for use in report.codebooks.values():
        assert use.size == SIZES["codes"]
        assert use.used >= 0.5 * use.size
        assert use.perplexity >= 0.3 * use.size
    assert report.psnr_db > 20
    assert report.ssim > 0.3
    assert report.training.steps == STEPS


def test_pretraining_repeats_also_when_it_is_killed(
    monkeypatch, pretrained, make_normal, textures, tmp_path
):
    """The same images and seed give the same weights and hash, bit by bit, and codebooks, too, go
    on where they were."""
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
    settings = TrainingSettings(steps=STEPS, batch_size=8)
    data = (make_normal(50, 1), make_normal(8, 2), textures, settings, 0, SIZES)

    def kill(progress):
        if progress.step == 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain_vq(*data, RunOptions(checkpoint_folder=tmp_path, on_progress=kill))
    again, report = pretrain_vq(*data, RunOptions(checkpoint_folder=tmp_path))

    network, first = pretrained
    assert report.training.resumed_step > 0
    assert hash_weights(again) == hash_weights(network)
    assert (report.codebooks, report.psnr_db) == (first.codebooks, first.psnr_db)


@pytest.mark.parametrize("level", ["coarse", "fine"])
def test_collapsed_codebook_ends_the_training(level):
    """One code for everything is an error that names the codebook and what to do."""
    recipe = VqRecipe(build_vq(ImageSize.square(SIZE_PX), 16, 8, codes=128), Simulation()).train()
    codebook = getattr(recipe.network, f"{level}_codebook")
    codebook.counts.fill_(1e-9)
    codebook.counts[5] = 1
    codebook.sums.copy_(codebook.sums * codebook.counts[:, None])
    codebook.batches.fill_(SETTLED_AFTER)

    with pytest.raises(CodebookCollapsedError, match=rf"at least 2\.6; that of the {level} one"):
        check_codebooks(recipe.network)
    codebook.batches.fill_(SETTLED_AFTER - 1)
    check_codebooks(recipe.network)


def test_measured_collapse_is_an_error():
    """A perplexity below the floor, or none at all, is refused."""
    check_perplexity("fine", 11.0, 512)

    with pytest.raises(CodebookCollapsedError, match=r"of 512 codes is 10\.1: bring more"):
        check_perplexity("fine", 10.1, 512)
    with pytest.raises(CodebookCollapsedError, match="nan"):
        check_perplexity("fine", float("nan"), 512)


def published(network):
    """A network's weights under the names that the authors of DSR gave them."""
    state, renamed = network.state_dict(), {}
    for theirs, ours in _PUBLISHED.items():
        renamed |= {
            name.replace(ours, theirs, 1): value
            for name, value in state.items()
            if name.startswith(ours)
        }
    for level, theirs in (("coarse", "_vq_vae_top"), ("fine", "_vq_vae_bot")):
        codes = getattr(network, f"{level}_codebook").codebook
        renamed[f"{theirs}._embedding.weight"] = codes
        renamed[f"{theirs}._ema_w"] = torch.zeros_like(codes)
        renamed[f"{theirs}._ema_cluster_size"] = torch.zeros(len(codes))
    return renamed


def test_our_file_comes_back(pretrained, tmp_path):
    """Weights in safetensors give the same network."""
    network, _ = pretrained
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(state, tmp_path / "vq.safetensors")

    loaded = read_vq(tmp_path / "vq.safetensors")

    assert hash_weights(loaded) == hash_weights(network)
    assert not loaded.training


def test_published_file_can_be_used(pretrained, tmp_path):
    """A torch state dict under the authors' names shows the same pictures."""
    network, _ = pretrained
    torch.save(published(network), tmp_path / "vq.pckl")

    loaded = read_vq(tmp_path / "vq.pckl")

    image = pictures(2)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.reconstruct(image), network.reconstruct(image))
        assert torch.equal(loaded(image).fine.codes, network(image).fine.codes)


def residual_shapes(prefix):
    """Two residual layers of the authors' network."""
    for layer in (0, 1):
        yield f"{prefix}._residual_stack._layers.{layer}._block.1.weight", (64, 128, 3, 3)
        yield f"{prefix}._residual_stack._layers.{layer}._block.3.weight", (128, 64, 1, 1)


def layer_shapes(name, *shape, outputs=None):
    """Weight and bias of a layer of the authors' network."""
    return [(f"{name}.weight", shape), (f"{name}.bias", (outputs or shape[0],))]


def test_names_and_shapes_of_the_published_file_fit(tmp_path):
    """Every tensor that the authors' code makes at its usual width has a place here."""
    shapes = dict(
        [
            *layer_shapes("_encoder_b._conv_1", 64, 3, 4, 4),
            *layer_shapes("_encoder_b._conv_2", 128, 64, 4, 4),
            *layer_shapes("_encoder_b._conv_3", 128, 128, 3, 3),
            *residual_shapes("_encoder_b"),
            *layer_shapes("_encoder_t._conv_1", 128, 128, 4, 4),
            *layer_shapes("_encoder_t._conv_2", 128, 128, 3, 3),
            *residual_shapes("_encoder_t"),
            *layer_shapes("_pre_vq_conv_bot", 128, 256, 1, 1),
            *layer_shapes("_pre_vq_conv_top", 128, 128, 1, 1),
            *layer_shapes("_decoder_b._conv_1", 128, 256, 3, 3),
            *residual_shapes("_decoder_b"),
            *layer_shapes("_decoder_b._conv_trans_1", 128, 64, 4, 4, outputs=64),
            *layer_shapes("_decoder_b._conv_trans_2", 64, 3, 4, 4, outputs=3),
            *layer_shapes("upsample_t", 128, 128, 4, 4),
        ]
    )
    for level in ("_vq_vae_top", "_vq_vae_bot"):
        shapes[f"{level}._embedding.weight"] = shapes[f"{level}._ema_w"] = (4096, 128)
        shapes[f"{level}._ema_cluster_size"] = (4096,)
    state = {name: torch.full(shape, 0.01) for name, shape in shapes.items()}
    torch.save(state, tmp_path / "vq.pckl")

    loaded = read_vq(tmp_path / "vq.pckl")

    assert loaded.fine_codebook.codebook.shape == (4096, 128)
    assert all((weight == 0.01).all() for weight in loaded.parameters())


class Evil:
    """Runs code where a pickle is loaded without care."""

    def __reduce__(self):
        return print, ("evil",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param({"a": Evil()}, "must be safetensors or a torch state dict", id="code"),
        pytest.param({"weight": torch.ones(2)}, "two-level quantised", id="another network"),
        pytest.param([torch.ones(2)], "two-level quantised", id="no state dict"),
    ],
)
def test_other_files_are_refused(tmp_path, capsys, content, message):
    """Nothing in a file is run, and what is no such autoencoder is named."""
    torch.save(content, tmp_path / "vq.pt")

    with pytest.raises(ModelFormatError, match=message):
        read_vq(tmp_path / "vq.pt")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "change"),
    [
        pytest.param("to_fine.weight", lambda old: old[:4], id="another shape"),
        pytest.param("to_fine.weight", lambda old: old * float("nan"), id="not finite"),
        pytest.param("more.weight", lambda old: torch.ones(3), id="one too many"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, name, change):
    """Shapes, names and numbers are checked before anything is used."""
    state = copy.deepcopy(small().state_dict())
    state[name] = change(state.get(name)).contiguous()
    save_file(state, tmp_path / "vq.safetensors")

    with pytest.raises(ModelFormatError, match=name.split(".")[0]):
        read_vq(tmp_path / "vq.safetensors")


@pytest.mark.parametrize("name", ["vq.pt", "vq.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"hello", b"release", b"job", b"abc"])
def test_broken_files_are_refused(tmp_path, name, content):
    """A file that is missing, empty or something else is an error of one line."""
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(ModelFormatError, match="weights must be") as caught:
        read_vq(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_hash_tells_weights_apart():
    """Another weight, another hash."""
    network = small()
    before = hash_weights(network)

    with torch.no_grad():
        network.fine_codebook.sums[0, 0] += 1

    assert hash_weights(network) != before
