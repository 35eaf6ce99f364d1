"""Ten thousand damaged pictures: each is decoded, or has a reason."""

import io
import warnings
from collections import Counter

import numpy as np
from PIL import Image

from reconad_plugin.errors import InvalidImageError
from reconad_plugin.images.decode import decode_image

PICTURES = 10_000
FORMATS = {
    "PNG": [{}, {"optimize": True}],
    "JPEG": [{"quality": 80}, {"progressive": True, "quality": 95}],
    "BMP": [{}],
    "TIFF": [
        {},
        {"compression": "tiff_lzw"},
        {"compression": "tiff_deflate"},
        {"compression": "jpeg"},
    ],
    "WEBP": [{"lossless": True}, {"quality": 60}],
}
MODES = {"PNG": ("RGB", "L", "P", "RGBA", "I;16"), "TIFF": ("RGB", "L", "RGBA", "CMYK")}


def whole_pictures(source: np.random.Generator) -> list[bytes]:
    """One file of each format, way of writing it and mode."""
    noise = source.integers(0, 256, (36, 44, 3), dtype=np.uint8)
    files = []
    for file_format, ways in FORMATS.items():
        for options in ways:
            for mode in MODES.get(file_format, ("RGB", "L")):
                file, tags = io.BytesIO(), Image.Exif()
                tags[0x0112], tags[0x010F] = 6, "maker"
                try:
                    picture = Image.fromarray(noise).convert("L" if mode == "I;16" else mode)
                    picture.convert(mode).save(file, file_format, exif=tags, **options)
                except (OSError, ValueError):  # no such file is ever written
                    continue
                files.append(file.getvalue())
    return files


def damage(content: bytes, other: bytes, source: np.random.Generator) -> bytes:
    """Cut, overwrite, splice, repeat or move a part of a file."""
    start, end = sorted(int(at) for at in source.integers(0, len(content), 2))
    match source.integers(6):
        case 0:
            return content[:end]
        case 1:
            flipped = bytearray(content)
            for at in source.integers(0, len(content), source.integers(1, 20)):
                flipped[at] = source.integers(256)
            return bytes(flipped)
        case 2:
            return content[:start] + other[start:]
        case 3:
            return content[:end] + content[start:]
        case 4:
            return content[:start] + source.bytes(end - start) + content[end:]
        case _:
            return content[:start] + content[end:]


def test_no_damage_raises_anything_but_our_own_error() -> None:
    """And no picture that comes out of it has another type or shape than pictures have."""
    source = np.random.default_rng(2026)
    whole = whole_pictures(source)
    outcomes = Counter[str]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, on what is damaged

        for _ in range(PICTURES):
            first, second = (whole[index] for index in source.integers(0, len(whole), 2))
            try:
                image = decode_image(damage(first, second, source))
            except InvalidImageError as error:
                outcomes[error.reason] += 1
            else:
                outcomes["decoded"] += 1
                assert image.dtype == np.uint8
                assert image.ndim == 3

    assert outcomes.total() == PICTURES
    assert min(outcomes["decoded"], outcomes["truncated"], outcomes["not_an_image"]) > 500, outcomes
