"""Bad files in a batch: each gets a status, and nobody else notices."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

FILE_SIGNATURES = ("serving_default", "segment_with_confidence", "overlay", "logits_from_bytes")


def image_file(seed, size, kind):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def huge_png(width, height):
    """A whole file of a few bytes whose header promises an image of this size."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(b"")),
            chunk(b"IEND", b""),
        ]
    )


GOOD = [image_file(0, (40, 60), "PNG"), image_file(1, (33, 20), "JPEG"), image_file(2, (64, 96), "PNG")]
BAD = {
    "empty": b"",
    "one byte": b"\xff",
    "text": b"not an image",
    "header only": GOOD[0][:8],
    "cut PNG": GOOD[0][: len(GOOD[0]) // 2],
    "cut JPEG": GOOD[1][: len(GOOD[1]) // 3],
    "damaged PNG": GOOD[0][:100] + bytes(50) + GOOD[0][150:],
    "zeros": bytes(1000),
    "huge PNG": huge_png(50_000, 60_000),
    "PNG larger than any number": huge_png(0x7FFFFFFF, 0x7FFFFFFF),
}
STATUS = {
    "empty": b"empty file",
    **dict.fromkeys(("one byte", "text", "zeros"), b"unknown format; expected JPEG, PNG, GIF, BMP, WebP"),
    **dict.fromkeys(("header only", "cut PNG", "cut JPEG", "damaged PNG"), b"damaged, or of a kind"),
    "huge PNG": b"too large: 60000 x 50000 pixels; at most 50000000 pixels are read",
    "PNG larger than any number": b"too large: ",
}


def batch(files):
    array = np.empty(len(files), object)
    array[:] = files
    return array


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_changes_nothing_for_the_others(served, kind):
    first, middle, last = GOOD
    whole = served.run("serving_default", {"image_bytes": batch([first, middle, last])})
    mixed = served.run("serving_default", {"image_bytes": batch([first, BAD[kind], last])})
    for name in whole:
        assert mixed[name][0] == whole[name][0]
        assert mixed[name][2] == whole[name][2]
    assert mixed["mask_png_bytes"][1] == b""
    assert mixed["height"][1] == mixed["width"][1] == 0
    assert mixed["status_bytes"].tolist()[::2] == [b"ok", b"ok"]
    assert mixed["status_bytes"][1].startswith(STATUS[kind])


@pytest.mark.parametrize("signature", FILE_SIGNATURES)
def test_a_batch_of_bad_files_is_answered_with_nothing(served, signature):
    answer = served.run(signature, {"image_bytes": batch(list(BAD.values()))})
    status = answer.pop("status_bytes")
    assert len(status) == len(BAD)
    assert b"ok" not in status
    for name, value in answer.items():
        assert len(value) == len(BAD)
        assert not value.astype(bool).any(), name


@pytest.mark.parametrize("signature", FILE_SIGNATURES)
def test_every_place_in_the_batch_may_be_bad(served, signature):
    files = [GOOD[0], BAD["text"], GOOD[1], BAD["empty"], BAD["empty"], GOOD[2]]
    answer = served.run(signature, {"image_bytes": batch(files)})
    good = np.array([True, False, True, False, False, True])
    np.testing.assert_array_equal(answer["status_bytes"] == b"ok", good)
    np.testing.assert_array_equal(answer["height"], [40, 0, 33, 0, 0, 64])
    np.testing.assert_array_equal(answer["width"], [60, 0, 20, 0, 0, 96])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    file=st.sampled_from(GOOD),
    edits=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=5),
    length=st.integers(0, 20000),
)
def test_a_mutated_file_is_read_or_refused(served, file, edits, length):
    mutated = bytearray(file[:length])
    for position, value in edits:
        if mutated:
            mutated[position % len(mutated)] = value
    answer = served.run("serving_default", {"image_bytes": batch([GOOD[0], bytes(mutated)])})
    alone = served.run("serving_default", {"image_bytes": batch([GOOD[0], b""])})
    assert answer["mask_png_bytes"][0] == alone["mask_png_bytes"][0]
    if answer["status_bytes"][1] == b"ok":
        mask = Image.open(io.BytesIO(answer["mask_png_bytes"][1]))
        assert mask.size == (answer["width"][1], answer["height"][1])
    else:
        assert answer["mask_png_bytes"][1] == b""
