"""Small writers of image files that Pillow reads but cannot write: PNG, BMP and GIF variants."""

import struct
import zlib

import numpy as np

PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# Adam7: first column and row, and the steps between columns and rows.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def write_png(
    rng: np.random.Generator,
    samples: np.ndarray,
    depth: int,
    color: int,
    *,
    interlaced: bool = False,
    before: bytes = b"",
    chunk_size: int = 1 << 16,
) -> bytes:
    """Encode samples, int [h, w, channels], with a filter drawn for every row.

    `before` are whole chunks between header and pixels.
    """
    height, width = samples.shape[:2]
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    rows = b"".join(_filtered(rng, samples[y::dy, x::dx], depth) for x, y, dx, dy in passes)
    stream = zlib.compress(rows, int(rng.integers(0, 10)))
    parts = [stream[i : i + chunk_size] for i in range(0, len(stream), chunk_size)]
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", header),
            before,
            *(png_chunk(b"IDAT", part) for part in parts),
            png_chunk(b"IEND", b""),
        ]
    )


def _filtered(rng: np.random.Generator, samples: np.ndarray, depth: int) -> bytes:
    height, width, channels = samples.shape
    if height == 0 or width == 0:
        return b""
    if depth == 16:
        packed = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    else:
        bits = (samples.reshape(height, -1)[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
        packed = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    step = max(1, channels * depth // 8)
    lines = []
    above = np.zeros(packed.shape[1], np.int64)
    for line in packed.astype(np.int64):
        left = np.concatenate([np.zeros(step, np.int64), line])[: len(line)]
        corner = np.concatenate([np.zeros(step, np.int64), above])[: len(line)]
        guess = left + above - corner
        far = [abs(guess - near) for near in (left, above, corner)]
        paeth = np.where(
            (far[0] <= far[1]) & (far[0] <= far[2]), left, np.where(far[1] <= far[2], above, corner)
        )
        kind = int(rng.integers(0, 5))
        predicted = (0, left, above, (left + above) // 2, paeth)[kind]
        lines.append(bytes([kind]) + ((line - predicted) % 256).astype(np.uint8).tobytes())
        above = line
    return b"".join(lines)


def write_bmp(
    rows: np.ndarray,
    width: int,
    bits: int,
    *,
    header_size: int = 40,
    top_down: bool = False,
    palette: np.ndarray | None = None,
    colors: int | None = None,
    masks: tuple[int, ...] = (),
    compression: int = 0,
    gap: int = 0,
    offset: int | None = None,
) -> bytes:
    """Write rows of bytes, uint8 [h, bytes per row], padded to four bytes, last row first.

    The palette is uint8 [n, 3] in RGB; `gap` zero bytes stand before the pixels.
    """
    height = len(rows)
    stride = (width * bits + 31) // 32 * 4
    padded = np.zeros((height, stride), np.uint8)
    padded[:, : rows.shape[1]] = rows
    pixels = (padded if top_down else padded[::-1]).tobytes()
    if header_size == 12:
        head = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        signed = -height if top_down else height
        n = len(palette) if palette is not None else 0
        used = n if colors is None else colors
        head = struct.pack("<IiiHHIIiiII", 40, width, signed, 1, bits, compression, 0, 2835, 2835, used, 0)
        head = struct.pack("<I", header_size) + head[4:]
        in_header = b"".join(struct.pack("<I", mask) for mask in masks)
        head = (
            head.ljust(header_size, b"\0")
            if header_size == 40
            else (head + in_header).ljust(header_size, b"\0")
        )
        if header_size == 40:
            head += in_header
    table = b""
    if palette is not None:
        spare = np.zeros((len(palette), 0 if header_size == 12 else 1), np.uint8)
        table = np.concatenate([palette[:, ::-1], spare], axis=1).astype(np.uint8).tobytes()
    start = 14 + len(head) + len(table) + gap
    body = head + table + b"\0" * gap + pixels
    return b"BM" + struct.pack("<IHHI", 14 + len(body), 0, 0, start if offset is None else offset) + body


def gif_data(indices: np.ndarray, bits: int, block: int = 255) -> bytes:
    """LZW-encode indices, uint8 [n], without ever growing the codes: a clear code comes in time."""
    clear, width = 1 << bits, bits + 1
    codes: list[int] = []
    for i, index in enumerate(indices):
        if i % (clear - 2 if clear > 2 else 1) == 0:
            codes.append(clear)
        codes.append(int(index))
    codes.append(clear + 1)
    number, filled = 0, 0
    packed = bytearray()
    for code in codes:
        number |= code << filled
        filled += width
        while filled >= 8:
            packed.append(number & 255)
            number, filled = number >> 8, filled - 8
    packed.append(number & 255)
    blocks = (bytes(packed[i : i + block]) for i in range(0, len(packed), block))
    return bytes([bits]) + b"".join(bytes([len(part)]) + part for part in blocks) + b"\0"


def write_gif(
    indices: np.ndarray,
    bits: int,
    *,
    canvas: tuple[int, int] | None = None,
    place: tuple[int, int] = (0, 0),
    global_palette: np.ndarray | None = None,
    local_palette: np.ndarray | None = None,
    interlaced: bool = False,
    transparent: int | None = None,
    before: bytes = b"",
    block: int = 255,
    frames: int = 1,
) -> bytes:
    """Write indices, uint8 [h, w], below 2^bits; sizes and places are (height, width), (top, left).

    A palette is uint8 [2^k, 3] in RGB. `before` are whole extensions before the first frame.
    """
    height, width = indices.shape
    canvas = canvas or (height, width)

    def flags(palette: np.ndarray | None) -> int:
        return 0 if palette is None else 0x80 + len(palette).bit_length() - 2

    def table(palette: np.ndarray | None) -> bytes:
        return b"" if palette is None else palette.astype(np.uint8).tobytes()

    rows = indices
    if interlaced:
        rows = np.concatenate([indices[0::8], indices[4::8], indices[2::4], indices[1::2]])
    control = b""
    if transparent is not None:
        control = b"!\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0"
    frame = (
        control
        + struct.pack("<BHHHHB", 0x2C, *place[::-1], width, height, flags(local_palette) | 0x40 * interlaced)
        + table(local_palette)
        + gif_data(rows.reshape(-1), max(2, bits), block)
    )
    screen = struct.pack("<HHBBB", *canvas[::-1], flags(global_palette), 0, 0)
    return b"GIF89a" + screen + table(global_palette) + before + frame * frames + b";"
