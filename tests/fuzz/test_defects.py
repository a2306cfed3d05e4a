import numpy as np
import pytest
from PIL import Image

from tests.fuzz.bombs import compressed_zeros
from tests.fuzz.defects import defect, has_unfinished_scans
from tests.fuzz.explained import explanation
from tests.fuzz.parts import layout, repaired
from tests.fuzz.pillow_reference import Reference, open_with_pillow
from tests.fuzz.raw_files import png_chunk
from tests.fuzz.valid_images import FORMATS, MAKERS, saved

KINDS = [(name, kind) for name in FORMATS for kind in MAKERS[name]]
REFUSED = Reference(None, "OSError", "none")
READ = Reference(np.zeros((1, 1, 3), np.uint8), "", "PNG")


def small(file_format, **options):
    noise = np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8)
    return saved(Image.fromarray(noise), file_format, **options)


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_valid_files_have_no_defect_and_no_excuse(name, kind):
    for seed in range(30):
        data = MAKERS[name][kind](np.random.default_rng([8, seed]))
        assert defect(data) is None
        reference = open_with_pillow(data, 1 << 20)
        if kind != "runs" and reference.pixels is not None:  # it knows only some masks of a BMP
            assert explanation("only Pillow reads it", reference, data) is None
        assert explanation("other pixels", reference, data) is None


def codes_changed(data):
    at = layout(data).lengths[-1].start  # of the last block of codes
    return data[: at + 3] + b"\xff" * 8 + data[at + 11 :]


def png_part(data, name, change):
    for start, end in layout(data).parts:
        if data[start + 4 : start + 8] == name:
            return repaired(data[:start] + change(data[start:end]) + data[end:])
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (b"IEND", lambda chunk: b"", "no end chunk"),
        (b"IHDR", lambda chunk: chunk * 2, "two IHDR"),
        (b"IDAT", lambda chunk: b"", "no data"),
        (b"IDAT", lambda chunk: chunk[:12] + b"\xff\xff" + chunk[14:], "compressed data"),
    ],
)
def test_png_defects(name, change, message):
    assert message in defect(png_part(small("PNG"), name, change))


def test_a_wrong_checksum_is_a_defect():
    data = bytearray(small("PNG"))
    data[-1] ^= 1
    assert defect(bytes(data)) == "a checksum is wrong"


@pytest.mark.parametrize(
    ("file_format", "change", "message"),
    [
        ("JPEG", lambda data: data[:-2], "no end marker"),
        ("JPEG", lambda data: data[:20] + b"xx" + data[20:], "stands between"),
        ("JPEG", lambda data: data[:2] + data, "second image"),
        ("GIF", lambda data: data[:-1], "breaks off"),
        ("GIF", lambda data: codes_changed(data), "not in the table"),
    ],
)
def test_defects_of_other_formats(file_format, change, message):
    found = defect(change(small(file_format)))
    assert found is not None
    assert message in found


def test_unfinished_scans_are_seen():
    for seed in range(5):
        data = MAKERS["JPEG"]["cmyk progressive"](np.random.default_rng(seed))
        assert not has_unfinished_scans(data)
        start, end = [part for part in layout(data).parts if data[part[0] + 1] == 0xDA][-1]
        cut = data[:start] + data[end:]
        assert has_unfinished_scans(cut)
        assert "without all its coefficients" in explanation("only Pillow reads it", READ, cut)
        assert explanation("other pixels", READ, cut) is None


def test_limits_are_an_excuse_only_beyond_them():
    data = small("JPEG")
    few, many = (data[:2] + b"\xff\xe5\0\2" * count + data[2:] for count in (100, 6000))
    assert explanation("only Pillow reads it", READ, few) is None
    assert "too many parts" in explanation("only Pillow reads it", READ, many)
    assert explanation("only the graph reads it", REFUSED, many) is None


def test_a_long_text_is_an_excuse_only_where_it_is_what_pillow_minds():
    data = small("PNG")
    long, damaged = (
        data[:33] + png_chunk(b"zTXt", b"x\0" + text) + data[33:]
        for text in (b"\0" + compressed_zeros(2 << 20), b"\1no zlib stream")
    )
    refusals = [open_with_pillow(file, 1 << 20) for file in (long, damaged)]
    assert [refusal.pixels for refusal in refusals] == [None, None]
    assert "not decompressed" in explanation("only the graph reads it", refusals[0], long)
    assert explanation("only the graph reads it", refusals[1], damaged) is None
    assert explanation("only the graph reads it", refusals[0], data) is None
    cut = long[: long.index(b"IDAT")]
    assert explanation("only the graph reads it", open_with_pillow(cut, 1 << 20), cut) is None


def test_nothing_excuses_a_webp_file():
    data = small("WEBP")
    for file in (data + b"x", data[:-1], data[:30] + b"x" + data[31:]):
        assert explanation("only the graph reads it", REFUSED, file) is None
        assert explanation("only Pillow reads it", READ, file) is None
