"""What is wrong with a PNG file by the rules of its standard, whether Pillow minds it or not."""

from __future__ import annotations

import zlib

from tests.fuzz.parts import layout
from tests.fuzz.raw_files import ADAM7, PNG_TYPES

_PNG_ONCE = (b"IHDR", b"PLTE", b"tRNS", b"IEND")


def png_defect(data: bytes) -> str | None:
    """Return the first broken rule of a PNG file (ISO/IEC 15948), or None."""
    parts = layout(data).parts[1:]
    chunks = [
        (data[start + 4 : start + 8], data[start + 8 : end - 4], data[end - 4 : end]) for start, end in parts
    ]
    names = [name for name, _, _ in chunks]
    if any(int.from_bytes(data[start : start + 4], "big") != end - start - 12 for start, end in parts):
        return "a chunk is longer than the file"
    if not chunks or names[0] != b"IHDR" or len(chunks[0][1]) != 13:
        return "the header is not the first chunk"
    for name, content, checksum in chunks:
        if zlib.crc32(name + content).to_bytes(4, "big") != checksum:
            return "a checksum is wrong"
        if name == b"IEND":
            break
    else:
        return "there is no end chunk"
    names = names[: names.index(b"IEND") + 1]
    for name in _PNG_ONCE:
        if names.count(name) > 1:
            return f"there are two {name.decode()} chunks"
    unknown = [name for name in names if name[:1].isupper() and name not in (*_PNG_ONCE, b"IDAT")]
    if unknown:
        return "there is an unknown critical chunk"
    data_chunks = [i for i, name in enumerate(names) if name == b"IDAT"]
    if not data_chunks:
        return "there are no data"
    if data_chunks != list(range(data_chunks[0], data_chunks[-1] + 1)):
        return "the data chunks do not follow each other"
    header = chunks[0][1]
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    depth, colour, compression, filters, interlace = header[8:]
    if (
        colour not in PNG_TYPES
        or depth not in PNG_TYPES[colour][0]
        or compression
        or filters
        or interlace > 1
    ):
        return "the header has an unknown kind"
    if colour == 3 and (b"PLTE" not in names or names.index(b"PLTE") > data_chunks[0]):
        return "there is no palette before the data"
    if colour in (0, 4) and b"PLTE" in names:
        return "there is a palette in a gray image"
    for name in (b"PLTE", b"tRNS"):
        if name in names and names.index(name) > data_chunks[0]:
            return f"{name.decode()} comes behind the data"
    for name, content, _ in chunks:
        if name == b"PLTE" and (len(content) % 3 or not 3 <= len(content) <= 768):
            return "the palette has an impossible length"
    return _rows_defect(b"".join(chunks[i][1] for i in data_chunks), height, width, depth, colour, interlace)


def _rows_defect(data: bytes, height: int, width: int, depth: int, colour: int, interlace: int) -> str | None:
    bits = depth * PNG_TYPES[colour][1]
    passes = [(height, width)]
    if interlace:
        passes = [(-((y - height) // dy), -((x - width) // dx)) for y, x, dy, dx in ADAM7]
    strides = [1 + (columns * bits + 7) // 8 for rows, columns in passes for _ in range(rows) if columns > 0]
    stream = zlib.decompressobj()
    try:
        rows = stream.decompress(data, sum(strides) + 1)
        while not stream.eof and stream.unconsumed_tail and len(rows) <= sum(strides):
            rows += stream.decompress(stream.unconsumed_tail, 1 << 16)
    except zlib.error:
        return "the compressed data are damaged"
    if not stream.eof:
        return "the compressed data do not end with the last row"
    if len(rows) != sum(strides):
        return "there are not as many rows as the header says"
    if stream.unused_data:
        return "there is something behind the compressed data"
    at = 0
    for stride in strides:
        if rows[at] > 4:
            return "a row has an unknown filter"
        at += stride
    return None
