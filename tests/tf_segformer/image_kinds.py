"""Image files of every kind that `decode_image` reads, of random sizes and contents."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.tf_segformer.image_writers import (
    PNG_CHANNELS,
    PNG_DEPTHS,
    png_chunk,
    write_bmp,
    write_gif,
    write_png,
)

Rng = np.random.Generator
Kind = Callable[[Rng, int, int], bytes]


def content(rng: Rng, height: int, width: int, channels: int, top: int = 256) -> np.ndarray:
    """Noise, a slope or large flat pieces, uint16 [h, w, channels] below `top`."""
    kind = rng.integers(0, 3)
    if kind == 0:
        return rng.integers(0, top, (height, width, channels)).astype(np.uint16)
    if kind == 1:
        slope = np.linspace(0, top - 1, height)[:, None, None] * rng.random(channels)
        slope = slope + np.linspace(0, top - 1, width)[None, :, None]
        return (slope.astype(int) % top).astype(np.uint16)
    small = rng.integers(0, top, (-(-height // 9), -(-width // 9), channels))
    return np.kron(small, np.ones((9, 9, 1), int))[:height, :width].astype(np.uint16)


def picture(rng: Rng, height: int, width: int, mode: str) -> Image.Image:
    bands = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}
    if mode in ("1", "P"):
        gray = picture(rng, height, width, "L" if mode == "1" else "RGB")
        return gray.convert(mode) if mode == "1" else gray.quantize(int(rng.integers(2, 257)))
    pixels = content(rng, height, width, bands[mode]).astype(np.uint8)
    return Image.frombytes(mode, (width, height), pixels.tobytes())


def saved(image: Image.Image, format_: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def jpeg(mode: str, **fixed: object) -> Kind:
    def make(rng: Rng, height: int, width: int) -> bytes:
        options: dict[str, object] = {
            "quality": int(rng.integers(1, 101)),
            "optimize": bool(rng.integers(0, 2)),
            "progressive": bool(rng.integers(0, 2)),
            "restart_marker_blocks": int(rng.choice([0, 0, 1, 7])),
        }
        if mode == "RGB":
            options["subsampling"] = int(rng.integers(0, 3))
        return saved(picture(rng, height, width, mode), "JPEG", **(options | fixed))

    return make


def _ycck(rng: Rng, height: int, width: int) -> bytes:
    file = jpeg("CMYK")(rng, height, width)
    at = file.index(b"Adobe") + 11
    return file[:at] + b"\x02" + file[at + 1 :]


def _cmyk_unmarked(rng: Rng, height: int, width: int) -> bytes:
    return jpeg("CMYK")(rng, height, width).replace(b"Adobe", b"-dobe", 1)


def png(color: int, *, interlaced: bool = False) -> Kind:
    def make(rng: Rng, height: int, width: int) -> bytes:
        depth = int(rng.choice(PNG_DEPTHS[color]))
        samples = content(rng, height, width, PNG_CHANNELS[color], 1 << depth)
        before = b""
        if rng.integers(0, 2):
            before += png_chunk(b"pHYs", b"\0\0\x0b\x12\0\0\x0b\x12\1")
        if color == 3:
            entries = int(rng.integers(1, (1 << depth) + 1))
            before += png_chunk(b"PLTE", rng.bytes(3 * entries))
            samples %= entries
            if rng.integers(0, 2):
                before += png_chunk(b"tRNS", rng.bytes(int(rng.integers(1, entries + 1))))
        elif color in (0, 2) and rng.integers(0, 2):
            key = samples[0, 0] if color else samples[0, 0, :1]
            before += png_chunk(b"tRNS", key.astype(">u2").tobytes())
        size = int(rng.choice([7, 100, 1 << 16]))
        return write_png(rng, samples, depth, color, interlaced=interlaced, before=before, chunk_size=size)

    return make


def png_by_pillow(rng: Rng, height: int, width: int) -> bytes:
    mode = str(rng.choice(["1", "L", "LA", "P", "RGB", "RGBA"]))
    return saved(picture(rng, height, width, mode), "PNG", optimize=bool(rng.integers(0, 2)))


def webp(mode: str, **fixed: object) -> Kind:
    def make(rng: Rng, height: int, width: int) -> bytes:
        options = {"quality": int(rng.integers(0, 101)), "method": int(rng.integers(0, 5))} | fixed
        options["exact"] = bool(rng.integers(0, 2))
        return saved(picture(rng, height, width, mode), "WEBP", **options)

    return make


def animated_webp(rng: Rng, height: int, width: int) -> bytes:
    mode = str(rng.choice(["RGB", "RGBA"]))
    first, *more = (picture(rng, height, width, mode) for _ in range(3))
    lossless = bool(rng.integers(0, 2))
    return saved(first, "WEBP", save_all=True, append_images=more, lossless=lossless, duration=50)


def gif(rng: Rng, height: int, width: int) -> bytes:
    bits = int(rng.integers(1, 9))
    indices = content(rng, height, width, 1, 1 << bits)[:, :, 0].astype(np.uint8)
    options: dict[str, object] = {}
    if rng.integers(0, 3):
        options["global_palette"] = _gif_palette(rng)
    if rng.integers(0, 2):
        options["local_palette"] = _gif_palette(rng)
    if rng.integers(0, 2):
        options["transparent"] = int(rng.integers(0, 256))
    if rng.integers(0, 3) == 0:
        place = int(rng.integers(0, 5)), int(rng.integers(0, 5))
        canvas = height + int(rng.integers(-3, 9)), width + int(rng.integers(-3, 9))
        options |= {"place": place, "canvas": (max(0, canvas[0]), max(0, canvas[1]))}
    extensions = (b"", b"!\xfe\x03abc\0", b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0", b"!\x01\x01a\0", b"\0")
    options["before"] = extensions[int(rng.integers(0, len(extensions)))]
    return write_gif(
        indices,
        bits,
        interlaced=bool(rng.integers(0, 2)),
        block=int(rng.choice([1, 60, 254, 255])) if height * width < 2_000 else 255,
        frames=int(rng.integers(1, 4)),
        **options,
    )


def _gif_palette(rng: Rng) -> np.ndarray:
    entries = 2 ** int(rng.integers(1, 9))
    if rng.integers(0, 4) == 0:  # Pillow takes such a palette for none
        return np.repeat(np.arange(entries)[:, None], 3, axis=1)
    return rng.integers(0, 256, (entries, 3))


def gif_by_pillow(rng: Rng, height: int, width: int) -> bytes:
    mode = str(rng.choice(["1", "L", "P", "RGB"]))
    frames = [picture(rng, height, width, mode) for _ in range(int(rng.integers(1, 3)))]
    options: dict[str, object] = {"save_all": True, "append_images": frames[1:]}
    if rng.integers(0, 2):
        options["transparency"] = 0
    return saved(frames[0], "GIF", interlace=int(rng.integers(0, 2)), **options)


def indexed_bmp(bits: int) -> Kind:
    def make(rng: Rng, height: int, width: int) -> bytes:
        count = int(rng.integers(1, (1 << bits) + 1))
        header_size = int(rng.choice([12, 40, 52, 56, 64, 108, 124]))
        if header_size == 12:
            count = 1 << bits
        palette = rng.integers(0, 256, (count, 3))
        # Pillow takes a palette of grays for none, and then refuses four bits.
        if (bits != 4 or count <= 2) and rng.integers(0, 4) == 0:
            levels = np.array([0, 255]) if count == 2 else np.arange(count)
            palette = np.repeat(levels[:, None], 3, axis=1)
        samples = content(rng, height, width, 1, 1 << bits)[:, :, 0]
        planes = (samples[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
        rows = np.packbits(planes.reshape(height, -1).astype(np.uint8), axis=1)
        return write_bmp(
            rows,
            width,
            bits,
            header_size=header_size,
            top_down=header_size != 12 and bool(rng.integers(0, 2)),
            palette=palette,
            gap=int(rng.choice([0, 0, 3])),
            offset=int(rng.choice([0, 14 + header_size])) if rng.integers(0, 6) == 0 else None,
        )

    return make


BMP_MASKS: dict[int, tuple[tuple[int, ...], ...]] = {
    16: ((0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F)),
    24: ((0xFF0000, 0xFF00, 0xFF),),
    32: (
        (0xFF0000, 0xFF00, 0xFF, 0x0),
        (0xFF000000, 0xFF0000, 0xFF00, 0x0),
        (0xFF000000, 0xFF00, 0xFF, 0x0),
        (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
        (0xFF000000, 0xFF00, 0xFF, 0xFF0000),
        (0x0, 0x0, 0x0, 0x0),
    ),
}


def direct_bmp(bits: int) -> Kind:
    def make(rng: Rng, height: int, width: int) -> bytes:
        rows = content(rng, height, width, bits // 8).astype(np.uint8).reshape(height, -1)
        header_size = int(rng.choice([12, 40, 52, 56, 64, 108, 124]))
        options: dict[str, object] = {}
        if header_size != 12:
            options["top_down"] = bool(rng.integers(0, 2))
            if rng.integers(0, 2):
                choices = BMP_MASKS[bits]
                if header_size in (40, 52):  # these have no mask of alpha
                    choices = tuple(masks[:3] for masks in choices if not any(masks[3:]))
                options |= {"masks": choices[int(rng.integers(0, len(choices)))], "compression": 3}
        return write_bmp(rows, width, bits, header_size=header_size, **options)

    return make


def bmp_by_pillow(rng: Rng, height: int, width: int) -> bytes:
    return saved(picture(rng, height, width, str(rng.choice(["1", "L", "P", "RGB", "RGBA"]))), "BMP")


def with_orientation(kind: Kind, format_: str) -> Kind:
    """Files with an EXIF orientation; see `decode(..., upright=True)`."""

    def make(rng: Rng, height: int, width: int) -> bytes:
        image = Image.open(io.BytesIO(kind(rng, height, width))).convert("RGB")
        exif = Image.Exif()
        exif.endian = str(rng.choice(["<", ">"]))
        exif[0x0110] = "a camera"
        exif[0x0112] = int(rng.integers(0, 10))
        return saved(image, format_, exif=exif.tobytes())

    return make


KINDS: dict[str, Kind] = {
    "JPEG colour": jpeg("RGB"),
    "JPEG RGB": jpeg("RGB", keep_rgb=True, subsampling=0),
    "JPEG gray": jpeg("L"),
    "JPEG CMYK": jpeg("CMYK"),
    "JPEG CMYK without Adobe's mark": _cmyk_unmarked,
    "JPEG YCCK": _ycck,
    "PNG by Pillow": png_by_pillow,
    "PNG gray": png(0),
    "PNG gray, interlaced": png(0, interlaced=True),
    "PNG RGB": png(2),
    "PNG RGB, interlaced": png(2, interlaced=True),
    "PNG palette": png(3),
    "PNG palette, interlaced": png(3, interlaced=True),
    "PNG gray and alpha": png(4),
    "PNG gray and alpha, interlaced": png(4, interlaced=True),
    "PNG RGBA": png(6),
    "PNG RGBA, interlaced": png(6, interlaced=True),
    "WebP lossy": webp("RGB"),
    "WebP lossy with alpha": webp("RGBA"),
    "WebP lossless": webp("RGB", lossless=True),
    "WebP lossless with alpha": webp("RGBA", lossless=True),
    "WebP animated": animated_webp,
    "GIF": gif,
    "GIF by Pillow": gif_by_pillow,
    "BMP 1 bit": indexed_bmp(1),
    "BMP 4 bits": indexed_bmp(4),
    "BMP 8 bits": indexed_bmp(8),
    "BMP 16 bits": direct_bmp(16),
    "BMP 24 bits": direct_bmp(24),
    "BMP 32 bits": direct_bmp(32),
    "BMP by Pillow": bmp_by_pillow,
}
ORIENTED: dict[str, Kind] = {
    "JPEG with orientation": with_orientation(jpeg("RGB"), "JPEG"),
    "PNG with orientation": with_orientation(png(2), "PNG"),
    "WebP with orientation": with_orientation(webp("RGB"), "WEBP"),
}


def make(kind: str, seed: int, largest: int = 200) -> bytes:
    """Make one file of the kind, of a size between 1 and `largest` pixels a side."""
    rng = np.random.default_rng([seed, *kind.encode()])
    height, width = (int(largest ** rng.random()) for _ in range(2))
    return (KINDS | ORIENTED)[kind](rng, height, width)
