"""Simulated anomalies on normal images: a filled shape, blended in.

Source: Zavrtanik, Kristan and Skocaj, "DRAEM", ICCV 2021, section 3.3, for Perlin shapes filled
with textures of random opacity. Patches of normal pictures as fillings follow Li et al.,
"CutPaste", CVPR 2021.
"""

from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import Generator, Tensor

from reconad_plugin.images.light import is_grey
from reconad_plugin.images.size import ImageSize
from reconad_plugin.simulation import masks
from reconad_plugin.simulation.defects import DEFECT, DefectDraw, with_defects
from reconad_plugin.simulation.masks import dilate, erode, uniform
from reconad_plugin.simulation.presets import DEFAULT_PRESET, PRESETS, Preset
from reconad_plugin.simulation.textures import TextureDraw, Textures, load_textures

MIN_MASK_SHARE: Final = 0.0005  # of the picture; emptier masks are drawn again
NOISE_DEVIATION: Final = (0.1, 0.3)
SHADE: Final = (0.2, 0.8)  # how much lighter or darker
LEAST_CHANGE: Final = 0.04  # of a pixel, mean over the mask; fainter ones are made clearer
LEAST_SEEN: Final = 1 / 255  # mean over the mask; below it the filling is drawn again as a texture
_MAX_GAIN: Final = 10.0
_MAX_DRAWS: Final = 20
_MAX_BLURS: Final = 3  # kernel of 3 to 7 pixels


@dataclass(frozen=True)
class SimulatedAnomalies:
    """Images with an anomaly each, and where it is."""

    image: Tensor  # (N, 3, S, S) float32 in [0, 1]
    mask: Tensor  # (N, S, S) bool, never empty

    @property
    def pixels(self) -> Tensor:
        """The images as (N, 3, S, S) uint8."""
        return (self.image * 255).round().byte()


def simulate_anomalies(
    images: Tensor,
    generator: Generator,
    preset: Preset = PRESETS[DEFAULT_PRESET],
    textures: Textures | None = None,
    inside: Tensor | None = None,
) -> SimulatedAnomalies:
    """Put one simulated anomaly on each image.

    Args:
        images: (N, 3, S, S) normal images, uint8 or float in [0, 1], on any device.
        generator: of the CPU; the only source of randomness.
        preset: shapes, fillings and blending.
        textures: pictures to fill shapes with, and defects beside the preset's fillings where
            it has some; the packaged ones by default.
        inside: (S, S) bool on the CPU, where anomalies may be; anywhere by default.
    """
    size = ImageSize.of(images.shape)
    clean = images.float() / 255 if images.dtype == torch.uint8 else images
    textures = (textures or load_textures(round(size.mean_side_px))).to(clean.device)
    mask = draw_masks(len(clean), size, generator, preset, inside)
    alpha = _soften_edges(mask, generator, preset.blurred_share)
    alpha *= uniform(generator, *preset.opacity, len(clean), 1, 1)
    mask, alpha = mask.to(clean.device), alpha.to(clean.device)

    # Few pixels change, so fillings are made for these alone.
    number, row, column = mask.nonzero(as_tuple=True)  # each (P,)
    before = clean[number, :, row, column]
    filling, drawn = _draw_fillings(clean, number, row, column, textures, generator, preset)
    opacity = alpha[number, row, column][:, None]
    after = _blend(before, filling, opacity, number, clean)
    for is_negative in (False, True):  # black made darker, or clipped white lighter, shows nothing
        is_unseen = _mean_change(after - before, number, len(clean)) < LEAST_SEEN
        if not is_unseen.any():
            break
        some = is_unseen[number].nonzero()[:, 0]
        filling = drawn.at(number[some], row[some], column[some])
        filling = 1 - filling if is_negative else filling
        after[some] = _blend(before[some], filling, opacity[some], number[some], clean)
    blended = clean.clone()
    blended[number, :, row, column] = after
    return SimulatedAnomalies(blended, mask)


def draw_masks(
    count: int, size: ImageSize, generator: Generator, preset: Preset, inside: Tensor | None = None
) -> Tensor:
    """Draw random masks of a preset's shapes, none of them empty; where they may be inside a region
    alone, (S, S) bool, each is moved over it and cut there.

    Returns:
        (count, H, W) bool on the CPU.
    """
    makers: dict[str, masks.MaskMaker] = {
        "perlin": partial(
            masks.perlin_masks, octaves=preset.octaves, threshold=preset.perlin_threshold
        ),
        "polygon": partial(masks.polygon_masks, radius=preset.polygon_radius),
        "stroke": partial(
            masks.stroke_masks, length=preset.stroke_length, width=preset.stroke_width
        ),
        "blobs": partial(masks.blob_masks, radius=preset.blob_radius, blobs=preset.blob_number),
    }
    shape = _choose(preset.shapes, count, generator)
    mask = torch.zeros(count, *size.shape, dtype=torch.bool)
    missing = torch.arange(count)
    for _ in range(_MAX_DRAWS):
        for number, name in enumerate(preset.shapes):
            some = missing[shape[missing] == number]
            if len(some):
                mask[some] = makers[name](len(some), size, generator)
        mask[missing] = _change_edges(mask[missing], generator, preset.sharpened_share)
        if inside is not None:
            mask[missing] = _move_over(inside, mask[missing], generator)
        area = mask[missing].view(torch.uint8).flatten(1).sum(1, dtype=torch.int32)
        missing = missing[area < MIN_MASK_SHARE * size.pixels]
        if not len(missing):
            return mask
    rows, columns = (slice(side // 3, side // 2) for side in size.shape)
    if inside is None:
        mask[missing, rows, columns] = True
    else:
        mask[missing] = inside
    return mask


def _move_over(inside: Tensor, mask: Tensor, generator: Generator) -> Tensor:
    """Move each (N, S, S) mask so that a pixel of it falls on one of a region, and cut the rest."""
    cells = inside.nonzero()  # (P, 2)
    target = cells[torch.randint(len(cells), (len(mask),), generator=generator)]
    moved = torch.zeros_like(mask)
    for index, own in enumerate(mask):
        pixels = own.nonzero()  # (K, 2)
        if len(pixels):
            chosen = pixels[int(torch.randint(len(pixels), (1,), generator=generator))]
            moved[index] = own.roll((target[index] - chosen).tolist(), (0, 1)) & inside
    return moved


def _change_edges(mask: Tensor, generator: Generator, share: float) -> Tensor:
    """Erode or dilate a share of the masks by a pixel or two, which straightens their edges."""
    draw = torch.rand(len(mask), generator=generator)
    for change, is_chosen in (
        (lambda some: dilate(erode(some)), draw < share / 3),
        (lambda some: erode(dilate(some)), (draw >= share / 3) & (draw < share * 2 / 3)),
        (dilate, (draw >= share * 2 / 3) & (draw < share)),
    ):
        some = is_chosen.nonzero()[:, 0]
        if len(some):
            mask[some] = change(mask[some])
    return mask


def _soften_edges(mask: Tensor, generator: Generator, share: float) -> Tensor:
    """Return an opacity of 1 in the mask; in a share of them it falls towards the edge, over one to
    three pixels or, in a quarter of these, over a wide band: (N, S, S) bool -> float."""
    alpha = mask.float()
    draw = torch.rand(len(mask), generator=generator)
    for blurs in range(1, _MAX_BLURS + 1):
        some = (draw < share * 0.75 * (_MAX_BLURS + 1 - blurs) / _MAX_BLURS).nonzero()[:, 0]
        if len(some):
            alpha[some] = masks.soften(alpha[some])
    some = ((draw >= share * 0.75) & (draw < share)).nonzero()[:, 0]
    if len(some):
        alpha[some] = masks.soften_widely(alpha[some])
    return alpha


def _draw_fillings(
    clean: Tensor,
    number: Tensor,
    row: Tensor,
    column: Tensor,
    textures: Textures,
    generator: Generator,
    preset: Preset,
) -> tuple[Tensor, TextureDraw]:
    """Draw what shapes are filled with, at the pixels (number, row, column): (P, 3) in [0, 1]; and
    the texture that was drawn for each image, whether its filling is one or not."""
    count, size, device = len(clean), ImageSize.of(clean.shape), clean.device
    fillings = preset.fillings if textures.defects is None else with_defects(preset.fillings)
    kind = _choose(fillings, count, generator).to(device)[number]
    other = torch.randint(count, (count,), generator=generator).to(device)
    shortest, sides = size.shorter_px, torch.tensor(size.shape)
    shift = torch.randint(shortest // 8, shortest * 7 // 8, (count, 2), generator=generator)
    shift = (shift * sides // shortest).to(device)  # down and across
    gain = uniform(generator, 0.7, 1.3, count, 1).to(device)
    shade = (1 + uniform(generator, *SHADE, count, 1) * _sign(count, generator)).to(device)
    deviation = uniform(generator, *NOISE_DEVIATION, count, 1).to(device)
    drawn = TextureDraw.draw(count, textures, generator)
    defects = textures.defects and DefectDraw.draw(count, textures.defects, generator)
    filling = torch.empty(len(number), 3, device=device)
    for index, name in enumerate(fillings):
        some = (kind == index).nonzero()[:, 0]
        image, down, across = number[some], row[some], column[some]
        if name == "texture":
            filling[some] = drawn.at(image, down, across)
        elif name == "noise":
            colours = 1 if is_grey(clean) else 3
            grain = torch.randn(len(some), colours, generator=generator).to(device)
            filling[some] = clean[image, :, down, across] + deviation[image] * grain
        elif name == "shade":
            filling[some] = clean[image, :, down, across] * shade[image]
        elif name == DEFECT and defects:
            filling[some] = defects.at(image, down, across)
        else:  # patch: a normal picture, shifted, a little lighter or darker
            down = (down + shift[image, 0]) % size.height_px
            across = (across + shift[image, 1]) % size.width_px
            filling[some] = clean[other[image], :, down, across] * gain[image]
    return filling.clamp_(0, 1), drawn


def _blend(
    before: Tensor, filling: Tensor, opacity: Tensor, number: Tensor, clean: Tensor
) -> Tensor:
    """Lay fillings over pixels, made as clear as they must be: (P, 3) in [0, 1]."""
    if is_grey(clean):  # a camera without colours sees none
        filling = filling.mean(1, keepdim=True).expand_as(filling)
    change = (filling - before) * opacity
    change *= _visible_gain(change, number, len(clean))
    return (before + change).clamp_(0, 1)


def _visible_gain(change: Tensor, number: Tensor, count: int) -> Tensor:
    """Return the gain, (P, 1) and at least 1, that makes each anomaly as clear as ``LEAST_CHANGE``,
    for changes (P, 3) in the images (P,): a label must be true to be learnt."""
    mean = _mean_change(change, number, count)
    gain = (LEAST_CHANGE / mean.clamp_min(1e-6)).clamp(1, _MAX_GAIN)
    return gain[number][:, None]


def _mean_change(change: Tensor, number: Tensor, count: int) -> Tensor:
    """Average over an image's pixels the colour that changes most: (P, 3) -> (count,)."""
    total = change.new_zeros(count).index_add_(0, number, change.abs().amax(1))
    return total / torch.bincount(number, minlength=count).clamp_min(1)


def _sign(count: int, generator: Generator) -> Tensor:
    return 1 - 2 * torch.randint(2, (count, 1), generator=generator).float()


def _choose(shares: dict[str, float], count: int, generator: Generator) -> Tensor:
    """Draw numbers of entries by their shares: (count,) long."""
    weights = torch.tensor(list(shares.values()), dtype=torch.float32)
    return torch.multinomial(weights, count, replacement=True, generator=generator)
