"""Small files that ask for much: memory, time or steps."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.fuzz.parts import layout
from tests.fuzz.raw_files import gif_blocks, gif_header, gif_image, png_chunk, png_header
from tests.fuzz.valid_images import picture, saved

IEND = png_chunk(b"IEND", b"")
MANY = 1_000_000
MANY_CHUNKS = 300_000  # of a PNG: Pillow takes seconds for them


def compressed_zeros(count: int) -> bytes:
    """Return a zlib stream of that many zeros, without compressing them all: one block is repeated."""
    block = 1 << 20
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = compressor.compress(b"\0" * block) + compressor.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    rest = last.compress(b"\0" * (count % block)) + last.flush()
    checksum = (count % 65521) << 16 | 1  # Adler-32 of zeros
    return b"\x78\xda" + piece * (count // block) + rest + struct.pack(">I", checksum)


def png_of_zeros(height: int, width: int, depth: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    """Return a complete black PNG; 1/1000 of the size of its rows."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    data = compressed_zeros(height * (1 + (width * samples * depth + 7) // 8))
    return png_header(height, width, depth, colour, interlace) + png_chunk(b"IDAT", data) + IEND


def _png_claims(height: int, width: int, **kind: int) -> bytes:
    """A PNG whose header claims a size and that holds next to nothing."""
    data = png_chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return png_header(height, width, **kind) + data + IEND


def _png_with(*chunks: bytes) -> bytes:
    """An 8 × 8 PNG with chunks in front of the pixels."""
    pixels = png_chunk(b"IDAT", zlib.compress((b"\0" + bytes(range(8))) * 8))
    return b"".join([png_header(8, 8), *chunks, pixels, IEND])


def _png_with_end(*chunks: bytes) -> bytes:
    """The same with chunks behind the pixels."""
    return _png_with()[: -len(IEND)] + b"".join(chunks) + IEND


def _png_of_tiny_data_chunks() -> bytes:
    data = _stored_rows(256)
    chunks = (png_chunk(b"IDAT", data[i : i + 1]) for i in range(len(data)))
    return png_header(256, 256) + b"".join(chunks) + IEND


def _png_of_uneven_data_chunks() -> bytes:
    """No two neighbours are of one length, so that none can be passed together."""
    data = _stored_rows(256)
    pieces = (piece for i in range(0, len(data), 3) for piece in (data[i : i + 1], data[i + 1 : i + 3]))
    return png_header(256, 256) + b"".join(png_chunk(b"IDAT", piece) for piece in pieces) + IEND


def _stored_rows(side: int) -> bytes:
    data = zlib.compress(np.random.default_rng(0).bytes(side * (side + 1)), 0)
    # Every row starts with its filter, which must be below 5.
    rows = bytearray(zlib.decompress(data))
    rows[:: side + 1] = b"\0" * side
    return zlib.compress(bytes(rows), 0)


def _jpeg(mode: str = "RGB", **options: object) -> bytes:
    return saved(picture(np.random.default_rng(3), mode, 32, 32), "JPEG", **options)


def _jpeg_claims(height: int, width: int, mode: str = "RGB", **options: object) -> bytes:
    """A JPEG whose frame header claims a size."""
    data = _jpeg(mode, **options)
    for field, value in zip(layout(data).sizes, (height, width), strict=True):
        data = field.write(data, value)
    return data


def _jpeg_with(segments: bytes) -> bytes:
    data = _jpeg()
    return data[:2] + segments + data[2:]


def jpeg_of_many_scans(scans: int, side: int) -> bytes:
    """A progressive JPEG whose last scan, of next to no bytes, is repeated."""
    data = saved(Image.new("L", (side, side)), "JPEG", progressive=True)
    parts = layout(data).parts
    start, end = parts[-2]  # behind it: the end of the image
    return data[:start] + data[start:end] * scans + data[end:]


def _gif_of_frames(count: int, canvas: int) -> bytes:
    frame = gif_image(np.zeros((1, 1), int))
    return gif_header(canvas, canvas, bytes(768)) + frame * count + b";"


def _gif_claims(canvas: int, frame: int) -> bytes:
    image = bytearray(gif_image(np.zeros((2, 2), int)))
    image[5:9] = struct.pack("<HH", frame, frame)
    return gif_header(canvas, canvas, bytes(768)) + bytes(image) + b";"


def _gif_parts(part: bytes, count: int) -> bytes:
    return gif_header(4, 4, bytes(768)) + part * count + gif_image(np.zeros((4, 4), int)) + b";"


def _gif_tiny_blocks(count: int) -> bytes:
    """Behind the pixels come more bytes, one a block, before the chain ends."""
    image = gif_image(np.zeros((4, 4), int))
    return gif_header(4, 4, bytes(768)) + image[:-1] + b"\1\0" * count + b"\0;"


def _webp(file: bytes, side: int) -> bytes:
    """A WebP file whose size fields claim a square."""
    for field in layout(file).sizes:
        claimed = (side - 1) | (side - 1) << 14 if field.size == 4 else side - (field.size == 3)
        file = field.write(file, claimed)
    return file


def _webp_frames(count: int) -> bytes:
    first = picture(np.random.default_rng(4), "RGB", 16, 16)
    data = saved(
        first, "WEBP", save_all=True, append_images=[picture(np.random.default_rng(5), "RGB", 16, 16)]
    )
    parts = layout(data).parts
    start, end = parts[-1]
    data = data[:end] + data[start:end] * count
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def _webp_chunks(count: int) -> bytes:
    data = saved(picture(np.random.default_rng(6), "RGB", 16, 16), "WEBP", exif=b"Exif\0\0x")
    data += b"teSt\0\0\0\0" * count
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def _bmp(
    height: int, width: int, bits: int = 24, compression: int = 0, colours: int = 0, data: bytes = b""
) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, colours, 0)
    palette = b"\0\1\2\0" * (1 << bits) if bits <= 8 else b""
    offset = 54 + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + header + palette + data


def _solid_webp(**options: object) -> bytes:
    return saved(Image.new("RGB", (64, 64)), "WEBP", **options)


BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG 50000², whole": lambda: png_of_zeros(50000, 50000),
    "PNG 50000², 1 bit, whole": lambda: png_of_zeros(50000, 50000, depth=1),
    "PNG 20000², RGBA 16 bit, whole": lambda: png_of_zeros(20000, 20000, 16, 6),
    "PNG 50000², tiny data": lambda: _png_claims(50000, 50000),
    "PNG 50000², interlaced, tiny data": lambda: _png_claims(50000, 50000, interlace=1),
    "PNG of the largest size": lambda: _png_claims(2**31 - 1, 2**31 - 1),
    "PNG one row, longest": lambda: _png_claims(1, 2**31 - 1, depth=16, colour=6),
    "PNG one column, longest": lambda: _png_claims(2**31 - 1, 1),
    "PNG of 1 million pixels, whole": lambda: png_of_zeros(1000, 1000, 16, 6),
    "PNG more rows than needed": lambda: (
        png_header(4, 4) + png_chunk(b"IDAT", compressed_zeros(1 << 28)) + IEND
    ),
    "PNG iCCP bomb": lambda: _png_with(png_chunk(b"iCCP", b"x\0\0" + compressed_zeros(1 << 30))),
    "PNG zTXt bomb": lambda: _png_with(png_chunk(b"zTXt", b"x\0\0" + compressed_zeros(1 << 30))),
    "PNG iTXt bomb": lambda: _png_with(png_chunk(b"iTXt", b"x\0\1\0en\0\0" + compressed_zeros(1 << 30))),
    "PNG 100 zTXt bombs": lambda: _png_with(png_chunk(b"zTXt", b"x\0\0" + compressed_zeros(1 << 22)) * 100),
    "PNG 100 zTXt bombs behind the pixels": lambda: _png_with_end(
        png_chunk(b"zTXt", b"x\0\0" + compressed_zeros(1 << 22)) * 100
    ),
    "PNG 500 short chunks": lambda: _png_with(png_chunk(b"tEXt", b"a\0b") * 500),
    "PNG data chunks of many lengths": _png_of_uneven_data_chunks,
    "PNG 300,000 empty chunks": lambda: _png_with(png_chunk(b"teSt", b"") * MANY_CHUNKS),
    "PNG 300,000 text chunks": lambda: _png_with(png_chunk(b"tEXt", b"a\0b") * MANY_CHUNKS),
    "PNG 300,000 empty data chunks": lambda: _png_with(png_chunk(b"IDAT", b"") * MANY_CHUNKS),
    "PNG a byte a data chunk": _png_of_tiny_data_chunks,
    "JPEG 65500²": lambda: _jpeg_claims(65500, 65500),
    "JPEG 65500², progressive": lambda: _jpeg_claims(65500, 65500, progressive=True),
    "JPEG 65500², gray": lambda: _jpeg_claims(65500, 65500, "L"),
    "JPEG 65500², CMYK": lambda: _jpeg_claims(65500, 65500, "CMYK"),
    "JPEG 20000², progressive": lambda: _jpeg_claims(20000, 20000, progressive=True),
    "JPEG 1000², progressive, tiny data": lambda: _jpeg_claims(1000, 1000, progressive=True),
    "JPEG 1 × 65535": lambda: _jpeg_claims(1, 65535),
    "JPEG height 0": lambda: _jpeg_claims(0, 32),
    "JPEG 100,000 APP segments": lambda: _jpeg_with(b"\xff\xe5\0\2" * 100_000),
    "JPEG 100,000 comments": lambda: _jpeg_with(b"\xff\xfe\0\2" * 100_000),
    "JPEG 100,000 Adobe segments": lambda: _jpeg_with(b"\xff\xee\0\x0eAdobe\0d\0\0\0\0\1" * 100_000),
    "JPEG 100,000 restart intervals": lambda: _jpeg_with(b"\xff\xdd\0\4\0\1" * 100_000),
    "JPEG a million restart markers": lambda: _jpeg()[:-2] + b"\xff\xd0" * MANY + b"\xff\xd9",
    "JPEG a million filling bytes": lambda: _jpeg_with(b"\xff" * MANY),
    "JPEG a million zeros at the end": lambda: _jpeg()[:-2] + b"\0" * MANY,
    "JPEG 300 scans": lambda: jpeg_of_many_scans(300, 64),
    "JPEG 300 scans of 1000²": lambda: jpeg_of_many_scans(300, 1000),
    "JPEG 20,000 scans": lambda: jpeg_of_many_scans(20_000, 16),
    "GIF 65535² canvas": lambda: _gif_claims(65535, 2),
    "GIF 65535² frame": lambda: _gif_claims(65535, 65535),
    "GIF 65535² frame on a small canvas": lambda: _gif_claims(2, 65535),
    "GIF 5,000 frames, 65535² canvas": lambda: _gif_of_frames(5000, 65535),
    "GIF 5,000 frames, 500² canvas": lambda: _gif_of_frames(5000, 500),
    "GIF a million tiny blocks": lambda: _gif_tiny_blocks(MANY),
    "GIF a million empty extensions": lambda: _gif_parts(b"!\x01\0", MANY),
    "GIF 100,000 comments": lambda: _gif_parts(b"!\xfe\1a\0", 100_000),
    "GIF a long comment in tiny blocks": lambda: _gif_parts(b"!\xfe" + b"\1a" * MANY + b"\0", 1),
    "GIF a million unknown bytes": lambda: _gif_parts(b"\0", MANY),
    "GIF noise in a million blocks": lambda: (
        gif_header(4, 4, bytes(768))
        + gif_image(np.zeros((4, 4), int))[:-3]
        + gif_blocks(bytes(MANY), 1)
        + b";"
    ),
    "WebP 16383², lossless, solid": lambda: _webp(_solid_webp(lossless=True), 16383),
    "WebP 16383², lossy": lambda: _webp(_solid_webp(), 16383),
    "WebP canvas 2²⁴": lambda: _webp(saved(picture(np.random.default_rng(7), "RGBA"), "WEBP"), 1 << 24),
    "WebP canvas 16000², animated": lambda: _webp(_webp_frames(1), 16000),
    "WebP 20,000 frames": lambda: _webp_frames(20_000),
    "WebP 100,000 chunks": lambda: _webp_chunks(100_000),
    "BMP 2³¹": lambda: _bmp(2**31 - 1, 2**31 - 1),
    "BMP height −2³¹": lambda: _bmp(-(2**31), 100),
    "BMP width 2³² − 1, height −2³¹": lambda: _bmp(-(2**31), -1),  # their product overflows 64 bits
    "PNG 2³² − 1": lambda: _png_claims(2**32 - 1, 2**32 - 1),
    "BMP 60000², 1 bit": lambda: _bmp(60000, 60000, 1),
    "BMP 60000², runs": lambda: _bmp(60000, 60000, 8, 1, 0, b"\0\1"),
    "BMP 1000², runs": lambda: _bmp(1000, 1000, 8, 1, 0, b"\0\1"),
    "BMP 2³² colours": lambda: _bmp(4, 4, 8, 0, 2**32 - 1, bytes(16)),
    "BMP no height": lambda: _bmp(0, 100),
    "BMP negative width": lambda: _bmp(100, -100),
    "empty": lambda: b"",
    "one byte": lambda: b"\xff",
    "20 MB of zeros": lambda: bytes(20 << 20),
    "20 MB of noise": lambda: np.random.default_rng(8).bytes(20 << 20),
    "20 MB of noise behind a JPEG magic": lambda: b"\xff\xd8\xff" + np.random.default_rng(8).bytes(20 << 20),
}
