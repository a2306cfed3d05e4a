"""Damaged files: Pillow and the graph both refuse, or both give the same pixels.

Where one of them is stricter the kind of damage is named here and in docs/image-formats.md.
"""

import struct
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.tf_segformer.decoding_cases import by_graph, by_pillow, verdict
from tests.tf_segformer.image_kinds import KINDS, jpeg, make, picture, saved
from tests.tf_segformer.image_writers import png_chunk, write_gif
from tf_segformer.image_decoding import Kind, decode_image, image_size, inspect_image

# How many of a hundred changed bytes may make a file that only the graph refuses. libpng checks every
# checksum; a JPEG file must have all its scans; a GIF file its whole chain of blocks; the first frame
# of an animation must be whole; four inks are looked for four times; a BMP palette ends at 256 colours.
STRICTER = {"PNG": 40, "JPEG": 8, "GIF": 5, "WebP animated": 20, "BMP": 2}
# TensorFlow's GIF decoder makes something of a code that cannot be, where Pillow refuses the file.
LAXER = {"GIF": 12}


def limit(limits: dict[str, int], kind: str) -> int:
    return next((number for name, number in limits.items() if kind.startswith(name)), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_truncation(kind: str) -> None:
    file = min((make(kind, seed, 12) for seed in range(8)), key=len)
    cuts = range(len(file)) if len(file) <= 120 else np.linspace(0, len(file) - 1, 120).astype(int)
    found = Counter(verdict(file[:cut]) for cut in cuts)
    # Pillow needs no more than the pixels: not the checksums behind them, nor the mark of the end.
    needs_end = kind.startswith(("GIF", "JPEG CMYK", "JPEG YCCK"))
    assert found["different"] == found["laxer"] == 0, found
    assert found["stricter"] <= (20 if kind.startswith("PNG") else 2 if needs_end else 0), found
    assert found["refused"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_single_changed_bytes(kind: str) -> None:
    rng = np.random.default_rng(list(kind.encode()))
    found: Counter[str] = Counter()
    for seed in range(3):
        file = make(kind, seed, 24)
        for _ in range(25):
            at = int(rng.integers(0, len(file) if rng.integers(0, 2) else min(80, len(file))))
            found[verdict(file[:at] + bytes([int(rng.integers(0, 256))]) + file[at + 1 :])] += 1
    total = sum(found.values())
    assert found["different"] == 0, found
    assert found["stricter"] <= total * limit(STRICTER, kind) / 100, found
    assert found["laxer"] <= total * limit(LAXER, kind) / 100, found


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\xff",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"BM",
        b"RIFF\0\0\0\0WEBP",
        b"text",
        b"\0" * 300,
    ],
)
def test_what_is_no_image_is_refused(file: bytes) -> None:
    assert verdict(file) == "refused"
    head = inspect_image(tf.constant(file)).numpy()
    assert Kind(head[2]) in (Kind.FOREIGN, Kind.REFUSED)
    assert np.count_nonzero(head) == head[2]
    with pytest.raises(tf.errors.InvalidArgumentError, match="JPEG, PNG, GIF, BMP, WebP"):
        decode_image(tf.constant(file))
    with pytest.raises(tf.errors.InvalidArgumentError, match="JPEG, PNG, GIF, BMP, WebP"):
        image_size(tf.constant(file))


def test_two_frame_headers_are_refused() -> None:
    rng = np.random.default_rng(0)
    file = jpeg("RGB", progressive=False, restart_marker_blocks=0)(rng, 20, 30)
    at = file.index(b"\xff\xc0")
    frame = file[at : at + 2 + struct.unpack(">H", file[at + 2 : at + 4])[0]]
    large = frame[:5] + b"\xff\xff\xff\xff" + frame[9:]
    assert by_graph(file[:at] + frame + file[at:]) is None
    assert by_graph(file[:at] + large + file[at:]) is None
    assert by_graph(file[:at] + frame + large + file[at + len(frame) :]) is None


def test_missing_pixels_of_a_gif_are_no_memory_of_others() -> None:
    palette = np.random.default_rng(1).integers(0, 256, (4, 3))
    file = write_gif(np.zeros((2, 2), np.uint8), 2, global_palette=palette)
    at = file.index(b",")
    larger = file[: at + 5] + struct.pack("<HH", 300, 300) + file[at + 9 :]
    assert verdict(larger) == "refused"


def test_a_webp_canvas_must_fit_its_image() -> None:
    rng = np.random.default_rng(0)
    file = saved(picture(rng, 10, 12, "RGBA"), "WEBP")
    at = file.index(b"VP8X") + 12
    assert by_graph(file) is not None
    assert verdict(file[:at] + b"\xff\xff\x00" + file[at + 3 :]) == "refused"


def test_too_many_scans_are_refused() -> None:
    """Each scan is a pass over all pixels: a small file could take hours."""
    rng = np.random.default_rng(0)
    file = jpeg("L", progressive=True, restart_marker_blocks=0)(rng, 20, 30)
    starts = [at for at in range(len(file)) if file[at : at + 2] == b"\xff\xda"]
    last = file[starts[-1] : -2]
    assert by_graph(file) is not None
    assert by_graph(file[:-2] + last * 100 + file[-2:]) is None


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_coarse_scan_behind_a_fine_one_is_refused(mode: str) -> None:
    """libjpeg goes by the last scan of a coefficient, and would smooth the image as unfinished."""
    file = jpeg(mode, progressive=True, restart_marker_blocks=0)(np.random.default_rng(0), 20, 30)
    starts = [at for at in range(len(file)) if file[at : at + 2] == b"\xff\xda"]
    scans = [file[start:end] for start, end in zip(starts, [*starts[1:], len(file) - 2], strict=True)]
    bits = [scan[7 + 2 * scan[4]] for scan in scans]
    coarse = next(scan for scan, low in zip(scans, bits, strict=True) if low % 16)
    assert by_graph(file) is not None
    assert by_graph(file[:-2] + coarse + file[-2:]) is None


@pytest.mark.parametrize(
    "file",
    [
        b"GIF89a\1\0\1\0\0\0\0!\xfe" + b"\1a" * 300_000 + b"\0",
        b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2" + b"\1a" * 300_000 + b"\0;",
        b"GIF89a\1\0\1\0\0\0\0" + b"a" * 600_000,
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", b"\0\0\0\1\0\0\0\1\x08\2\0\0\0")
        + png_chunk(b"abCd", b"") * 50_000,
        b"\xff\xd8\xff" + b"\xfe\0\2\xff" * 150_000,
        b"\xff\xd8" + b"\xff" * 600_000,
        b"\xff\xd8\xff\xd0" + b"\0" * 600_000,
        b"RIFF" + struct.pack("<I", 4 + 8 * 75_000) + b"WEBP" + b"abcd\0\0\0\0" * 75_000,
    ],
    ids=["GIF comment", "GIF pixels", "GIF nothing", "PNG", "JPEG", "JPEG FF", "JPEG zeros", "WebP"],
)
def test_a_file_of_tiny_parts_ends_the_walk(file: bytes) -> None:
    assert by_graph(file) is None


def test_no_memory_is_taken_for_a_size_that_is_only_claimed() -> None:
    bmp = saved(Image.new("RGB", (2, 2)), "BMP")
    huge = bmp[:18] + struct.pack("<ii", 2**29, 2**29) + bmp[26:]
    assert by_graph(huge) is None
    with pytest.raises(tf.errors.InvalidArgumentError, match="is damaged"):
        decode_image(tf.constant(huge))


def test_pillow_refuses_what_the_graph_refuses_for_no_reason_of_its_own() -> None:
    """The graph reads nearly every valid file: this fails if a check is too strict."""
    for kind in KINDS:
        file = make(kind, 77, 40)
        assert by_pillow(file) is not None and by_graph(file) is not None, kind


def test_a_progressive_file_must_have_all_scans() -> None:
    """libjpeg smooths what is missing, and its versions differ in how."""
    file = jpeg("RGB", progressive=True, restart_marker_blocks=0)(np.random.default_rng(0), 40, 30)
    starts = [at for at in range(len(file)) if file[at : at + 2] == b"\xff\xda"]
    assert by_graph(file) is not None
    assert by_pillow(file[: starts[-1]] + b"\xff\xd9") is not None
    assert by_graph(file[: starts[-1]] + b"\xff\xd9") is None
