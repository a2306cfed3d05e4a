"""Writers of the PNG, GIF and BMP files that Pillow reads but does not write."""

from __future__ import annotations

import struct
import zlib

import numpy as np

Random = np.random.Generator

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Colour type: its bit depths and its samples per pixel.
PNG_TYPES = {
    0: ((1, 2, 4, 8, 16), 1),
    2: ((8, 16), 3),
    3: ((1, 2, 4, 8), 1),
    4: ((8, 16), 2),
    6: ((8, 16), 4),
}
# Adam7: first row and column of each pass and the steps between its rows and columns.
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def png_chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk with its length and checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_header(height: int, width: int, depth: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    """Return the signature and the IHDR chunk."""
    fields = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return PNG_SIGNATURE + png_chunk(b"IHDR", fields)


def png(random: Random, interlaced: bool = False, ancillary: bool = False) -> bytes:
    """Return a PNG of a random colour type, depth and row filter, its data in several chunks."""
    colour = int(random.choice(list(PNG_TYPES)))
    depths, samples = PNG_TYPES[colour]
    depth = int(random.choice(depths))
    height, width = (int(side) for side in random.integers(1, 33, 2))
    values = random.integers(0, 1 << depth, (height, width, samples))
    if depth == 16 and random.integers(2):
        values >>= 8  # Pillow clips 16-bit gray at 255: without this nearly all pixels would be white
    passes = [values[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlaced else [values]
    filters = random.integers(0, 5)
    rows = b"".join(
        bytes([filters]) + _pack(row.ravel(), depth) for part in passes if part.size for row in part
    )
    data = zlib.compress(rows, int(random.integers(0, 10)))
    cuts = sorted(int(cut) for cut in random.integers(0, len(data) + 1, random.integers(0, 3)))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    extra = [png_chunk(b"PLTE", random.bytes(3 << depth))] if colour == 3 else []
    if colour in (0, 2, 3) and random.integers(2):
        length = {0: 2, 2: 6, 3: 1 << depth}[colour]
        transparent = random.bytes(length)
        if colour != 3:  # samples of two bytes, of which at most 8 bits count
            transparent = b"".join(bytes([0, byte % (1 << min(depth, 8))]) for byte in transparent[::2])
        extra.append(png_chunk(b"tRNS", transparent))
    if ancillary:
        profile = zlib.compress(random.bytes(200))
        first = [
            png_chunk(b"gAMA", struct.pack(">I", int(random.integers(1, 1 << 20)))),
            png_chunk(b"iCCP", b"profile\0\0" + profile),
            png_chunk(b"tEXt", b"Title\0text"),
            png_chunk(b"zTXt", b"Title\0\0" + zlib.compress(b"text" * 9)),
            png_chunk(b"iTXt", b"Title\0\1\0en\0\0" + zlib.compress(b"text" * 9)),
            png_chunk(b"pHYs", struct.pack(">IIB", 2835, 2835, 1)),
            png_chunk(b"teSt", random.bytes(20)),
        ]
        extra = [first[i] for i in random.permutation(len(first))[:4]] + extra
    header = png_header(height, width, depth, colour, int(interlaced))
    return header + b"".join(
        [*extra, *(png_chunk(b"IDAT", piece) for piece in pieces), png_chunk(b"IEND", b"")]
    )


def _pack(samples: np.ndarray, depth: int) -> bytes:
    if depth == 16:
        return samples.astype(">u2").tobytes()
    if depth == 8:
        return samples.astype(np.uint8).tobytes()
    bits = (samples[:, None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.ravel()).tobytes()


def gif_blocks(data: bytes, size: int = 255) -> bytes:
    """Return data as a chain of blocks, each a length and as many bytes, closed by an empty one."""
    blocks = (data[start : start + size] for start in range(0, len(data), size))
    return b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def gif_lzw(indices: np.ndarray, bits: int = 8) -> bytes:
    """Return pixels as LZW codes that never grow: a clear code comes before the table would."""
    clear, codes, run = 1 << bits, [], (1 << bits) - 2
    for start in range(0, len(indices), run):
        codes += [clear, *indices[start : start + run].tolist()]
    values = np.array([*codes, clear + 1])
    stream = ((values[:, None] >> np.arange(bits + 1)) & 1).ravel()
    return np.packbits(stream.astype(np.uint8), bitorder="little").tobytes()


def gif_image(
    indices: np.ndarray, left: int = 0, top: int = 0, palette: bytes = b"", flags: int = 0
) -> bytes:
    """Return the descriptor and the pixels (two dimensions, of 8 bits) of one frame."""
    height, width = indices.shape
    flags |= 0x87 if palette else 0
    descriptor = b"," + struct.pack("<HHHHB", left, top, width, height, flags) + palette
    return descriptor + b"\x08" + gif_blocks(gif_lzw(indices.ravel()))


def gif_header(height: int, width: int, palette: bytes = b"", background: int = 0) -> bytes:
    """Return the header with a palette of 256 colours, or with none."""
    flags = 0xF7 if palette else 0x70
    return b"GIF89a" + struct.pack("<HHBBB", width, height, flags, background, 0) + palette


def gif(random: Random) -> bytes:
    """Return a GIF of one to three frames, some off the corner, with local palettes, disposal, comments."""
    height, width = (int(side) for side in random.integers(1, 33, 2))
    palette = random.bytes(768) if random.integers(4) else b""
    parts = [gif_header(height, width, palette, int(random.integers(256)))]
    for _ in range(random.integers(1, 4)):
        if random.integers(2):
            control = struct.pack("<BHB", *(int(v) for v in random.integers(0, [32, 99, 256])))
            parts.append(b"!\xf9\x04" + control + b"\0")
        if random.integers(3) == 0:
            parts.append(b"!\xfe" + gif_blocks(random.bytes(20), 9))
        top, left = int(random.integers(height)), int(random.integers(width))
        top, left = (0, 0) if random.integers(2) else (top, left)
        size = (int(random.integers(1, height - top + 1)), int(random.integers(1, width - left + 1)))
        local = random.bytes(768) if random.integers(3) == 0 or not palette else b""
        interlaced = 0x40 * int(random.integers(2))
        parts.append(gif_image(random.integers(0, 256, size), left, top, local, interlaced))
    return b"".join([*parts, b";"])


def bmp(random: Random) -> bytes:
    """Return an uncompressed BMP of a random depth, header, direction and set of masks."""
    bits = int(random.choice([1, 4, 8, 16, 24, 32]))
    header_size = int(random.choice([12, 40, 52, 56, 64, 108, 124]))
    height, width = (int(side) for side in random.integers(1, 33, 2))
    masks = b""
    compression = 0
    if bits in (16, 32) and header_size != 12 and random.integers(2):
        compression = 3
        sets = [(0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F)]
        if bits == 32:
            sets = [(0xFF0000, 0xFF00, 0xFF), (0xFF, 0xFF00, 0xFF0000), (0xFF000000, 0xFF0000, 0xFF00)]
        masks = struct.pack("<III", *sets[random.integers(len(sets))])
        masks += struct.pack("<I", int(random.choice([0, 0xFF000000, 0xFF]))) if header_size >= 56 else b""
    colours = 1 << bits if bits <= 8 else 0
    if header_size == 12:
        header = struct.pack("<IHHHH", 12, width, height, 1, bits)
        palette = random.bytes(3 * colours)
    else:
        signed = -height if random.integers(3) == 0 else height
        header = struct.pack("<IiiHHIIiiII", 40, width, signed, 1, bits, compression, 0, 0, 0, colours, 0)
        header = struct.pack("<I", header_size) + (header[4:] + masks).ljust(header_size - 4, b"\0")
        palette = random.bytes(4 * colours)
    stride = (width * bits + 31) // 32 * 4
    offset = 14 + len(header) + len(palette)
    pixels = random.bytes(stride * height)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + header + palette + pixels


def bmp_runs(random: Random) -> bytes:
    """Return a BMP of 8 bits, compressed in runs."""
    height, width = (int(side) for side in random.integers(1, 33, 2))
    rows = [bytes([width, int(random.integers(256)), 0, 0]) for _ in range(height)]
    pixels = b"".join(rows) + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(pixels), 0, 0, 256, 0)
    offset = 14 + 40 + 1024
    return (
        b"BM"
        + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset)
        + header
        + random.bytes(1024)
        + pixels
    )
