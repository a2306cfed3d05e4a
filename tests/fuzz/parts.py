"""Where the parts and the number fields of a file are, so that mutations can hit them.

The walks are lenient: they stop at the first thing that they do not understand.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from typing import NamedTuple

Span = tuple[int, int]


class Field(NamedTuple):
    """A whole number within a file."""

    start: int
    size: int  # in bytes
    order: str  # "big" or "little"

    def write(self, data: bytes, value: int) -> bytes:
        """Return the data with this field set, its higher bits dropped."""
        number = (value % (1 << 8 * self.size)).to_bytes(self.size, self.order)  # type: ignore[arg-type]
        return data[: self.start] + number + data[self.start + self.size :]

    def read(self, data: bytes) -> int:
        """Return the value, 0 beyond the end of the data."""
        return int.from_bytes(data[self.start : self.start + self.size], self.order)  # type: ignore[arg-type]


class Layout(NamedTuple):
    """What is where in a file."""

    parts: list[Span]  # chunks, segments or blocks, from the first byte to the last
    sizes: list[Field]  # heights, widths and offsets of images
    lengths: list[Field]  # of parts
    header: Span  # the bytes that say what kind of image it is


def file_format(data: bytes) -> str:
    """Return the format that the first bytes name, or "none"."""
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:2] == b"BM":
        return "BMP"
    return "WebP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else "none"


def layout(data: bytes) -> Layout:
    """Return the layout of a file of any format."""
    walks = {"JPEG": _jpeg, "PNG": _png, "GIF": _gif, "BMP": _bmp, "WebP": _webp}
    walk = walks.get(file_format(data))
    if walk is None:
        return Layout([(0, len(data))], [], [], (0, min(64, len(data))))
    found = walk(data)
    parts = [(start, min(end, len(data))) for start, end in found.parts if start < len(data)]
    rest = [(parts[-1][1], len(data))] if parts[-1][1] < len(data) else []
    inside = [[field for field in fields if field.start + field.size <= len(data)] for fields in found[1:3]]
    return Layout([*parts, *rest], *inside, found.header)


def repaired(data: bytes) -> bytes:
    """Return the file with the checksums and the outer lengths that its content asks for.

    Without this nearly every change of a PNG would end at its first checksum.
    """
    if file_format(data) == "PNG":
        chunks = [data[:8]]
        for start, end in _png(data).parts[1:]:
            body = data[start + 4 : end - 4]
            chunks.append(data[start : start + 4] + body + struct.pack(">I", zlib.crc32(body)))
        return b"".join(chunks) + data[sum(map(len, chunks)) :]
    if file_format(data) == "WebP":
        return data[:4] + struct.pack("<I", (len(data) - 8) % (1 << 32)) + data[8:]
    return data


def _png(data: bytes) -> Layout:
    parts, lengths, at = [(0, 8)], [], 8
    while at + 12 <= len(data):
        lengths.append(Field(at, 4, "big"))
        end = at + 12 + lengths[-1].read(data)
        if end > len(data):
            break
        parts.append((at, end))
        at = end
    return Layout(parts, [Field(16, 4, "big"), Field(20, 4, "big")], lengths, (8, 33))


def _jpeg(data: bytes) -> Layout:
    parts, sizes, lengths, at = [(0, 2)], [], [], 2
    header = (0, 20)
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        bare = marker in (0x01, 0xD8, 0xD9) or 0xD0 <= marker <= 0xD7
        length = Field(at + 2, 2, "big")
        end = at + 2 if bare else at + 2 + length.read(data)
        if not bare:
            lengths.append(length)
        if marker == 0xC0 or (0xC0 < marker <= 0xCF and marker % 4):  # a frame
            sizes += [Field(at + 5, 2, "big"), Field(at + 7, 2, "big")]
            header = (at + 4, end)
        if marker == 0xDA:  # entropy-coded data until the next marker that is no restart
            while end + 1 < len(data) and (data[end] != 0xFF or data[end + 1] in (0, *range(0xD0, 0xD8))):
                end += 1
        if end > len(data):
            break
        parts.append((at, end))
        at = end
    return Layout(parts, sizes, lengths, header)


def _gif(data: bytes) -> Layout:
    def palette(flags_at: int) -> int:
        flags = data[flags_at] if flags_at < len(data) else 0
        return 6 << (flags & 7) if flags & 0x80 else 0

    at = 13 + palette(10)
    parts = [(0, at)]
    sizes = [Field(6, 2, "little"), Field(8, 2, "little")]
    lengths = []
    while at + 1 < len(data) and data[at] in b"!,":
        start = at
        if data[at] == ord(","):
            sizes += [Field(at + i, 2, "little") for i in (1, 3, 5, 7)]
            at += 10 + palette(at + 9) + 1
        else:
            at += 2
        while at < len(data) and data[at]:
            lengths.append(Field(at, 1, "big"))
            at += 1 + data[at]
        at += 1
        parts.append((start, min(at, len(data))))
    return Layout(parts, sizes, lengths, (0, 13))


def _bmp(data: bytes) -> Layout:
    long = Field(14, 4, "little").read(data) != 12
    pixels = min(Field(10, 4, "little").read(data), len(data))
    cuts = sorted({0, 14, min(14 + Field(14, 4, "little").read(data), len(data)), pixels})
    sizes = [Field(18, 4, "little"), Field(22, 4, "little")]
    if not long:
        sizes = [Field(18, 2, "little"), Field(20, 2, "little")]
    lengths = [Field(at, 4, "little") for at in (2, 10, 14, *((34, 46) if long else ()))]
    return Layout(list(itertools.pairwise(cuts)), sizes, lengths, (14, 70 if long else 26))


def _webp(data: bytes) -> Layout:
    parts, sizes, lengths, at = [(0, 12)], [], [Field(4, 4, "little")], 12
    while at + 8 <= len(data):
        lengths.append(Field(at + 4, 4, "little"))
        end = at + 8 + lengths[-1].read(data)
        end += end % 2
        name = data[at : at + 4]
        if name == b"VP8X":
            sizes += [Field(at + 12, 3, "little"), Field(at + 15, 3, "little")]
        elif name == b"VP8L":
            sizes.append(Field(at + 9, 4, "little"))
        elif name == b"VP8 ":
            sizes += [Field(at + 14, 2, "little"), Field(at + 16, 2, "little")]
        elif name == b"ANMF":
            sizes += [Field(at + i, 3, "little") for i in (8, 11, 14, 17)]
            inner = at + 24
            lengths.append(Field(inner + 4, 4, "little"))
        if end > len(data):
            break
        parts.append((at, end))
        at = end
    return Layout(parts, sizes, lengths, (12, 42))
