"""Parts of picture files: where the picture ends, and what of the file is pixels."""

import re
import zlib
from collections.abc import Iterator
from typing import Final

_PNG_START: Final = 8  # bytes of the signature
# what a PNG's pixels, frames and orientation need; other parts are text and colour profiles, which
# change no pixel here and may unfold to gigabytes
_PNG_PARTS: Final = frozenset({b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf"})
_PLAIN_XMP: Final = b"iTXtXML:com.adobe.xmp\x00\x00"
_MOST_XMP_BYTES: Final = 1 << 20
# 00 and D0 to D7 are in the data; FF may stand there several times, of which the last counts
_JPEG_MARKER: Final = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_JPEG_END: Final = 0xD9
_JPEG_BARE_MARKERS: Final = (0x01, 0xD8)  # nothing follows them


def png_pixels(content: bytes) -> bytes | None:
    """Return a PNG file without what is no pixel; None where it is cut off before its end mark."""
    parts, is_whole = [content[:_PNG_START]], False
    for name, part in _png_parts(content):
        is_critical = name[:1].isupper()
        is_xmp = part.startswith(_PLAIN_XMP, 4) and len(part) <= _MOST_XMP_BYTES
        if is_critical or ((name in _PNG_PARTS or is_xmp) and _is_intact(part)):
            parts.append(part)
        is_whole = name == b"IEND"
    return b"".join(parts) if is_whole else None


def may_be_turned(png: bytes) -> bool:
    """Say whether a PNG may hold an orientation: it has the name of a part that can."""
    return b"eXIf" in png or _PLAIN_XMP in png


def is_whole_jpeg(content: bytes) -> bool:
    """Say whether a JPEG file has its own end mark; that of a preview within it does not count, and
    what follows the mark does not matter."""
    at = 2
    while found := _JPEG_MARKER.search(content, at):
        marker, at = found[1][0], found.end()
        if marker == _JPEG_END:
            return True
        if marker not in _JPEG_BARE_MARKERS:
            at += int.from_bytes(content[at : at + 2], "big")
    return False


def _png_parts(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the bytes of each whole part, up to the end mark."""
    at, name = _PNG_START, b""
    while name != b"IEND" and at + 12 <= len(content):  # length, name, checksum
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if end > len(content):
            return
        name = content[at + 4 : at + 8]
        yield name, content[at:end]
        at = end


def _is_intact(part: bytes) -> bool:
    return zlib.crc32(part[4:-4]) == int.from_bytes(part[-4:], "big")
