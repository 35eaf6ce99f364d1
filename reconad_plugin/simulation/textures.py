"""Pictures of materials that simulated anomalies take their fillings from."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import torch
from torch import Generator, Tensor

from reconad_plugin.errors import InvalidImageError, NotEnoughImagesError
from reconad_plugin.images.folder import files_among
from reconad_plugin.images.geometry import decode_to_size, stack_images
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize
from reconad_plugin.simulation.defects import DefectCuts

PACKAGED_TEXTURES: Final = Path(__file__).parent / "textures"  # CC0, see its README
CHANGES_AT_ONCE: Final = 3  # of the ten below
PICTURE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png"})


@dataclass(frozen=True)
class Textures:
    """Pictures to fill shapes with, laid out so that single pixels are quick to fetch."""

    pixels: Tensor  # (M, S, S, 3) uint8
    shares: Tensor  # (M, 3, 256) share of a picture's pixels up to each value
    defects: DefectCuts | None = None  # what fills shapes beside them

    @classmethod
    def of(cls, images: Tensor) -> "Textures":
        """Make textures from (M, 3, H, W) uint8 pictures."""
        colours = images.reshape(len(images) * 3, -1)
        values = torch.stack([torch.bincount(colour, minlength=256) for colour in colours])
        shares = values.view(-1, 3, 256).float().cumsum(2)
        return cls(images.permute(0, 2, 3, 1).contiguous(), shares / shares[..., -1:])

    def to(self, device: str | torch.device) -> "Textures":
        """Return the same on another device."""
        defects = None if self.defects is None else self.defects.to(device)
        return Textures(self.pixels.to(device), self.shares.to(device), defects)


def texture_files(folder: Path) -> list[Path]:
    """List the pictures of a folder and of those below it, in order of name."""
    named = (
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")
    )
    return list(files_among(sorted(named)))


def load_textures(size_px: int, folder: Path = PACKAGED_TEXTURES) -> Textures:
    """Load all textures of a folder, read once as long as its files stay the same.

    Args:
        size_px: side of the squares that they are resized to; a larger picture repeats them.
        folder: JPEG and PNG files, also in folders below it; the packaged ones by default.

    Raises:
        NotEnoughImagesError: the folder holds no picture.
        InvalidImageError: a picture cannot be read; the message names it.
    """
    states = [(file, file.stat()) for file in texture_files(folder)]
    files = tuple((file, state.st_size, state.st_mtime_ns) for file, state in states)
    if not files:
        raise NotEnoughImagesError(
            f"simulated anomalies need at least one texture; {folder} holds no .jpg or .png: "
            "leave the folder out to use the packaged ones"
        )
    return _read_textures(size_px, files)


@lru_cache(maxsize=8)
def _read_textures(size_px: int, files: tuple[tuple[Path, int, int], ...]) -> Textures:
    """Read textures of files with their sizes in bytes and their times of change."""
    limits, size = ImageLimits(), ImageSize.square(size_px)
    pictures = []
    for file, _, _ in files:
        try:
            pictures.append(decode_to_size(file.read_bytes(), size, limits))
        except InvalidImageError as error:
            raise InvalidImageError(
                error.reason, f"texture {file}: {error}: repair it, or take it out of the folder"
            ) from None
    return Textures.of(torch.from_numpy(stack_images(pictures, size)))


@dataclass(frozen=True)
class TextureDraw:
    """A texture an image, each changed in three of ten ways: contrast curve, brightness,
    solarisation, posterisation, inversion, stretched contrast, equalised histogram, sharpness,
    hue and saturation, rotation.

    Seven of them map a value to a value: they are composed in one table of 256 entries.

    Source: the list and "three of ten": Zavrtanik, Kristan and Skocaj, "DRAEM", ICCV 2021,
    section 3.3; the ranges are ours.
    """

    textures: Textures  # the pictures
    number: Tensor  # (B,) which picture each image has
    table: Tensor  # (B, 3, 256) what becomes of each value, in [0, 1]
    sharpness: Tensor  # (B,) weight of the difference to the neighbours
    hue: Tensor  # (B,) turn about the grey axis, radians
    saturation: Tensor  # (B,) scale of the distance from the grey axis
    turn: Tensor  # (B,) rotation, radians
    shift: Tensor  # (B, 2) down and across, pixels

    @classmethod
    def draw(cls, count: int, textures: Textures, generator: Generator) -> "TextureDraw":
        """Draw for ``count`` images."""
        device = textures.pixels.device
        number = torch.randint(len(textures.pixels), (count,), generator=generator).to(device)
        chosen = (torch.rand(count, 10, generator=generator).argsort(1) < CHANGES_AT_ONCE).float()
        unit = torch.rand(count, 4, generator=generator)
        size_px = textures.pixels.shape[1]
        shift = torch.randint(size_px, (count, 2), generator=generator)
        return cls(
            textures,
            number,
            _value_table(textures.shares[number], chosen[:, :7].bool().to(device), generator),
            sharpness=(2 * unit[:, 0] * chosen[:, 7]).to(device),
            hue=(2 * torch.pi * unit[:, 1] * chosen[:, 8]).to(device),
            saturation=(1 + (unit[:, 2] - 0.5) * chosen[:, 8]).to(device),
            turn=((unit[:, 3] - 0.5) * torch.pi / 2 * chosen[:, 9]).to(device),
            shift=shift.to(device),
        )

    def at(self, image: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Return the fillings at pixels: image, row and column, each (P,) -> (P, 3) in [0, 1]."""
        size_px = self.textures.pixels.shape[1]
        cosine, sine = self.turn.cos()[image], self.turn.sin()[image]
        down = (row * cosine - column * sine).floor().long() + self.shift[:, 0][image]
        across = (row * sine + column * cosine).floor().long() + self.shift[:, 1][image]
        flat = self.textures.pixels.view(-1, 3)
        first = (self.number * size_px**2)[image]

        def fetch(some: Tensor | slice, move_down: int, move_across: int) -> Tensor:
            line = (down[some] + move_down) % size_px  # beyond the border it begins again
            return flat[first[some] + line * size_px + (across[some] + move_across) % size_px]

        value = fetch(slice(None), 0, 0)
        sharp = (self.sharpness > 0)[image].nonzero()[:, 0]
        if len(sharp):
            around = [fetch(sharp, *move).float() for move in ((-1, 0), (1, 0), (0, -1), (0, 1))]
            centre = value[sharp].float()
            edge = self.sharpness[image[sharp], None] * (centre - torch.stack(around).mean(0))
            value[sharp] = (centre + edge).clamp_(0, 255).byte()
        entry = 768 * image[:, None] + 256 * torch.arange(3, device=image.device) + value
        colour = self.table.view(-1)[entry]
        coloured = (self.saturation != 1)[image].nonzero()[:, 0]
        if len(coloured):
            colour[coloured] = self._turn_hue(colour[coloured], image[coloured])
        return colour.clamp_(0, 1)

    def _turn_hue(self, colour: Tensor, image: Tensor) -> Tensor:
        grey = colour.mean(1, keepdim=True)
        across = (colour.roll(1, 1) - colour.roll(-1, 1)) / 3**0.5
        along = (self.saturation * self.hue.cos())[image, None]
        turned = (self.saturation * self.hue.sin())[image, None]
        return grey + along * (colour - grey) + turned * across


def _value_table(share: Tensor, chosen: Tensor, generator: Generator) -> Tensor:
    """Map each value, (B, 3, 256) shares and (B, 7) bool, to its new one: (B, 3, 256) in [0, 1]."""
    count, device = len(share), share.device

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        unit = torch.rand(count, channels, 1, generator=generator)
        return (low + (high - low) * unit).to(device)

    is_chosen = chosen[:, :, None, None].unbind(1)
    value = torch.linspace(0, 1, 256, device=device).expand(count, 3, 256)
    darkest = (share > 0).float().argmax(2, keepdim=True) / 255
    lightest = (share > 1 - 1e-6).float().argmax(2, keepdim=True) / 255
    stretched = (value - darkest) / (lightest - darkest).clamp_min(1 / 255)
    value = torch.where(is_chosen[0], stretched.clamp(0, 1), value)
    value = torch.where(is_chosen[1], share, value)
    value = torch.where(is_chosen[2], value ** draw(0.5, 2, 3), value)
    brighter = (value * draw(0.8, 1.2) + draw(-0.12, 0.12)).clamp(0, 1)
    value = torch.where(is_chosen[3], brighter, value)
    flipped = torch.where(value >= draw(0.125, 0.5), 1 - value, value)
    value = torch.where(is_chosen[4], flipped, value)
    levels = draw(2, 16).floor()
    value = torch.where(is_chosen[5], (value * levels).round() / levels, value)
    return torch.where(is_chosen[6], 1 - value, value).contiguous()
