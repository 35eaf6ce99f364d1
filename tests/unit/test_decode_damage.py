"""Files that are cut off or damaged: a picture, or one of our reasons, and never another error."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconad_plugin.errors import InvalidImageError
from reconad_plugin.images.decode import decode_image

ALL_FORMATS = {
    "PNG": {},
    "BMP": {},
    "TIFF": {},
    "WEBP": {"lossless": True},
    "JPEG": {"quality": 95},
}
REASONS = {
    "empty",
    "not_an_image",
    "truncated",
    "too_many_pixels",
    "too_small",
    "multiple_frames",
}
CUT_OFF = r"an image must|must end with its end mark"


def formats(*names):
    """The formats as parameters."""
    return [pytest.param(name, id=name) for name in names]


def outcome(content):
    """Decoded, or the reason why not."""
    try:
        decode_image(content)
    except InvalidImageError as error:
        return error.reason
    return "decoded"


@pytest.mark.parametrize(
    "share", [pytest.param(share, id=f"{share:.0%} left") for share in (0.3, 0.6, 0.9, 0.99)]
)
@pytest.mark.parametrize("file_format", formats(*ALL_FORMATS))
def test_cut_file_is_refused(encode, speckle, file_format, share):
    """A file of which the end is missing is no picture, though its start still opens."""
    whole = encode(speckle, file_format, **ALL_FORMATS[file_format])
    cut = whole[: int(share * len(whole))]

    with pytest.raises(InvalidImageError, match=CUT_OFF) as raised:
        decode_image(cut)

    assert raised.value.reason in {"truncated", "not_an_image"}


@pytest.mark.parametrize("file_format", formats("PNG", "JPEG"))
@given(share=st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_no_cut_of_png_or_jpeg_passes(encode, speckle, file_format, share):
    """Wherever a PNG or a JPEG is cut, it is refused."""
    whole = encode(speckle, file_format, **ALL_FORMATS[file_format])
    cut = whole[: max(1, int(share * len(whole)))]

    with pytest.raises(InvalidImageError, match=CUT_OFF):
        decode_image(cut)


@pytest.mark.parametrize(
    "missing", [pytest.param(count, id=f"last {count} bytes gone") for count in (1, 2, 4, 5, 12)]
)
@pytest.mark.parametrize("file_format", formats("PNG", "JPEG"))
def test_cut_within_the_end_mark_is_refused(encode, speckle, file_format, missing):
    """A file that ends inside its end mark is cut off as well."""
    whole = encode(speckle, file_format, **ALL_FORMATS[file_format])

    with pytest.raises(InvalidImageError, match=CUT_OFF) as raised:
        decode_image(whole[:-missing])

    assert raised.value.reason == "truncated"


def test_end_mark_of_a_thumbnail_does_not_hide_a_cut(encode, speckle):
    """A JPEG whose preview is whole and whose picture is cut is refused."""
    preview = encode(speckle, "JPEG", quality=30)
    start, rest = (content := encode(speckle, "JPEG", quality=95))[:2], content[2:]
    body = b"Exif\x00\x00" + preview
    with_preview = start + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + rest
    assert decode_image(with_preview).shape == speckle.shape

    with pytest.raises(InvalidImageError, match=CUT_OFF) as raised:
        decode_image(with_preview[:-300])

    assert raised.value.reason == "truncated"


@pytest.mark.parametrize("file_format", formats(*ALL_FORMATS))
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_file_is_decoded_or_has_a_reason(encode, speckle, file_format, changes):
    """Damage anywhere in a file gives a picture or our own error, never another one."""
    damaged = bytearray(encode(speckle, file_format, **ALL_FORMATS[file_format]))
    for place, value in changes:
        damaged[int(place * (len(damaged) - 1))] = value

    assert outcome(bytes(damaged)) in REASONS | {"decoded"}


def test_tiff_that_points_to_a_broken_page_has_a_reason(encode, speckle):
    """A TIFF whose directory names a second page that is all zeros is refused with a reason."""
    content = bytearray(encode(speckle, "TIFF") + bytes(16))
    directory = struct.unpack_from("<I", content, 4)[0]
    entries = struct.unpack_from("<H", content, directory)[0]
    struct.pack_into("<I", content, directory + 2 + 12 * entries, len(content) - 16)

    assert outcome(bytes(content)) in {"truncated", "multiple_frames"}


@pytest.mark.parametrize("file_format", formats("PNG", "WEBP"))
def test_broken_camera_tags_refuse_no_picture(encode, speckle, file_format):
    """A picture whose block of camera tags is garbage is decoded as it is."""
    content = encode(speckle, file_format, exif=b"Exif\x00\x00no tags at all")

    assert decode_image(content).shape == speckle.shape
