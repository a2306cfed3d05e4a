"""Small valid files of every kind that the served graph may meet, made from a seeded generator.

Pillow writes most of them; what it cannot write (interlaced PNG, 16-bit colour, bit fields, …) is written
in `raw_files`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from tests.fuzz import raw_files

Random = np.random.Generator
Maker = Callable[[Random], bytes]

MAX_SIDE = 48
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WebP")


def picture(random: Random, mode: str = "RGB", height: int = 0, width: int = 0) -> Image.Image:
    """Return noise, a gradient or a flat area of a random small size, as an image of a mode."""
    height = height or int(random.integers(1, MAX_SIDE + 1))
    width = width or int(random.integers(1, MAX_SIDE + 1))
    kind = random.integers(3)
    if kind == 0:
        pixels = random.integers(0, 256, (height, width, 4), np.uint8)
    else:
        rows, columns = np.mgrid[:height, :width]
        slopes = random.integers(-9, 10, (2, 4)) * (kind - 1)
        ramp = random.integers(0, 256, 4) + rows[..., None] * slopes[0] + columns[..., None] * slopes[1]
        pixels = (ramp % 256).astype(np.uint8)
    if mode == "CMYK":
        return Image.frombytes("CMYK", (width, height), pixels.tobytes())
    if mode == "I;16":
        values = pixels[..., :2].copy().view(np.uint16)[..., 0] >> random.integers(0, 9)
        return Image.frombytes("I;16", (width, height), values.astype("<u2").tobytes())
    return Image.fromarray(pixels).convert(mode)


def saved(image: Image.Image, file_format: str, **options: Any) -> bytes:
    """Return the bytes of the file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def _jpeg(mode: str = "RGB", **options: Any) -> Maker:
    def make(random: Random) -> bytes:
        return saved(picture(random, mode), "JPEG", quality=int(random.integers(5, 101)), **options)

    return make


def _ycck(random: Random) -> bytes:
    """A CMYK file whose Adobe segment says YCCK: its last byte is the transform."""
    data = bytearray(saved(picture(random, "CMYK"), "JPEG"))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def _saved(file_format: str, mode: str, **options: Any) -> Maker:
    return lambda random: saved(picture(random, mode), file_format, **options)


def _exif(file_format: str, **options: Any) -> Maker:
    def make(random: Random) -> bytes:
        exif = Image.Exif()
        exif[0x0112] = int(random.integers(0, 10))
        exif[0x010E] = "x" * int(random.integers(0, 40))
        return saved(picture(random), file_format, exif=exif.tobytes(), **options)

    return make


def _frames(file_format: str, mode: str, **options: Any) -> Maker:
    def make(random: Random) -> bytes:
        first = picture(random, mode)
        more = [picture(random, mode, first.height, first.width) for _ in range(random.integers(1, 4))]
        return saved(first, file_format, save_all=True, append_images=more, **options)

    return make


def _transparent_palette(file_format: str, **options: Any) -> Maker:
    def make(random: Random) -> bytes:
        transparency = int(random.integers(0, 256))
        return saved(picture(random, "P"), file_format, transparency=transparency, **options)

    return make


def _raw(write: Callable[..., bytes], **options: Any) -> Maker:
    return lambda random: write(random, **options)


MAKERS: dict[str, dict[str, Maker]] = {
    "JPEG": {
        "4:2:0": _jpeg(subsampling=2),
        "4:2:2": _jpeg(subsampling=1),
        "4:4:4": _jpeg(subsampling=0),
        "progressive": _jpeg(progressive=True),
        "progressive gray": _jpeg("L", progressive=True),
        "gray": _jpeg("L"),
        "optimised": _jpeg(optimize=True),
        "restarts": _jpeg(restart_marker_blocks=1),
        "RGB": _jpeg(keep_rgb=True),
        "comment": _jpeg(comment=b"a comment"),
        "exif": _exif("JPEG"),
        "cmyk": _jpeg("CMYK"),
        "cmyk progressive": _jpeg("CMYK", progressive=True),
        "ycck": _ycck,
    },
    "PNG": {
        **{f"Pillow {mode}": _saved("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")},
        "palette, transparent": _transparent_palette("PNG"),
        "optimised": _saved("PNG", "RGB", optimize=True),
        "exif": _exif("PNG"),
        "animated": _frames("PNG", "RGB"),
        "any": _raw(raw_files.png),
        "any, interlaced": _raw(raw_files.png, interlaced=True),
        "ancillary chunks": _raw(raw_files.png, ancillary=True),
    },
    "GIF": {
        "gray": _saved("GIF", "L"),
        "palette": _saved("GIF", "P"),
        "interlaced": _saved("GIF", "P", interlace=1),
        "not interlaced": _saved("GIF", "RGB", interlace=0),
        "transparent": _transparent_palette("GIF"),
        "comment": _saved("GIF", "P", comment=b"a comment"),
        "animated": _frames("GIF", "P", duration=50, loop=0),
        "animated, transparent": _frames("GIF", "RGBA", disposal=2),
        "any": _raw(raw_files.gif),
    },
    "BMP": {
        **{f"Pillow {mode}": _saved("BMP", mode) for mode in ("1", "L", "P", "RGB", "RGBA")},
        "any": _raw(raw_files.bmp),
        "runs": _raw(raw_files.bmp_runs),
    },
    "WebP": {
        "lossy": _saved("WEBP", "RGB", quality=60),
        "lossy, alpha": _saved("WEBP", "RGBA", quality=60),
        "lossless": _saved("WEBP", "RGB", lossless=True),
        "lossless, alpha": _saved("WEBP", "RGBA", lossless=True),
        "exif": _exif("WEBP"),
        "animated": _frames("WEBP", "RGB", duration=50),
        "animated, alpha, lossless": _frames("WEBP", "RGBA", duration=50, lossless=True),
    },
}


def valid_file(random: Random) -> tuple[str, str, bytes]:
    """Return a format, a kind of it and a valid file of that kind."""
    file_format = str(random.choice(FORMATS))
    kind = str(random.choice(list(MAKERS[file_format])))
    return file_format, kind, MAKERS[file_format][kind](random)
