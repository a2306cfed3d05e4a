"""The chunks of PNG files: what Pillow refuses the graph refuses, and libpng sees the pixels alone."""

import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf

from tests.tf_segformer.decoding_cases import by_graph, by_pillow, verdict
from tests.tf_segformer.image_writers import png_chunk, write_png
from tf_segformer.image_decoding import inspect_image, rewrite


def test_a_second_png_header_is_refused() -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    samples = np.zeros((2, 2, 3), int)
    assert by_graph(write_png(np.random.default_rng(0), samples, 8, 2, before=header)) is None


@pytest.mark.parametrize("name", [b"tEXt", b"pHYs", b"eXIf", b"abCd"])
def test_a_wrong_checksum_before_the_pixels_is_refused(name: bytes) -> None:
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 256, (3, 3, 3))
    for size in (9, 10, 1000, 4097):
        chunk = png_chunk(name, rng.bytes(size))
        damaged = chunk[:-1] + bytes([chunk[-1] ^ 1])
        assert verdict(write_png(rng, samples, 8, 2, before=chunk)) == "equal"
        assert verdict(write_png(rng, samples, 8, 2, before=damaged)) == "refused"


def png_with(before: bytes = b"", behind: bytes = b"") -> bytes:
    file = write_png(np.random.default_rng(0), np.arange(27).reshape(3, 3, 3), 8, 2, before=before)
    return file[:-12] + behind + file[-12:]


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        ((b"zTXt", b"x\0\0" + zlib.compress(b"text")), "equal"),
        ((b"zTXt", b"x\0\0no stream"), "equal"),
        ((b"zTXt", b"x\0\1" + zlib.compress(b"text")), "refused"),  # there is one method of compression
        ((b"zTXt", b"x\0"), "equal"),
        ((b"zTXt", b"x"), "equal"),
        ((b"zTXt", b""), "equal"),
        ((b"iCCP", b"x\0\0" + zlib.compress(b"profile")), "equal"),
        ((b"iCCP", b"x\0\0no stream"), "equal"),
        ((b"iCCP", b"x\0\2" + zlib.compress(b"profile")), "refused"),
        ((b"iCCP", b"x\0"), "refused"),
        ((b"iCCP", b"x"), "refused"),
        ((b"iCCP", b""), "refused"),
        ((b"iTXt", b"x\0\1\0en\0\0no stream"), "equal"),
        ((b"gAMA", b"\0\1\2"), "refused"),
        ((b"gAMA", b"\0\0\0\0"), "equal"),
        ((b"cHRM", bytes(32)), "equal"),
        ((b"sBIT", b"\1\1\1"), "equal"),
        ((b"bKGD", bytes(6)), "equal"),
        ((b"tRNS", b"\0\1"), "refused"),
        ((b"tRNS", bytes(6)), "equal"),
        ((b"PLTE", bytes(5)), "equal"),  # not needed
        ((b"AbCd", b"critical, and unknown"), "equal"),
        ((b"ab-d", b"no name of a chunk"), {"before": "refused", "behind": "equal"}),
        ((b"acTL", bytes(7)), "refused"),
        ((b"fcTL", struct.pack(">IIIIIHHBB", 0, 3, 3, 0, 0, 1, 1, 0, 0)), "equal"),
        ((b"fcTL", struct.pack(">IIIIIHHBB", 0, 4, 3, 0, 0, 1, 1, 0, 0)), "refused"),
        ((b"fcTL", struct.pack(">IIIIIHHBB", 1, 3, 3, 0, 0, 1, 1, 0, 0)), "refused"),
        ((b"fdAT", bytes(3)), "refused"),
        ((b"fdAT", bytes(4)), "refused"),  # a frame without its control
        ((b"IHDR", bytes(12)), "refused"),
    ],
)
def test_the_chunks_of_a_png_are_looked_at_as_pillow_does(chunk, expected, place) -> None:
    """Also behind the pixels, where Pillow stops at what is no chunk."""
    file = png_with(**{place: png_chunk(*chunk)})
    assert verdict(file) == (expected if isinstance(expected, str) else expected[place])


def test_chunks_behind_the_pixels_need_no_checksum_but_all_their_bytes() -> None:
    text = png_chunk(b"tEXt", b"a\0b")
    assert verdict(png_with(behind=text[:-1] + b"x")) == "equal"
    file = png_with()[:-12] + text
    assert [verdict(file[:cut]) for cut in (-1, -4, -5, -7)] == ["equal", "equal", "refused", "refused"]
    assert verdict(png_with()[:-12]) == "equal"  # Pillow needs no end chunk


def test_texts_of_a_png_are_not_decompressed() -> None:
    """A hundred of these took libpng seconds; Pillow refuses them, since it reads texts."""
    bomb = png_chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(2 << 20), 9))
    expected = by_graph(png_with())
    for place in ("before", "behind"):
        file = png_with(**{place: bomb * 3})
        assert by_pillow(file) is None
        np.testing.assert_array_equal(by_graph(file), expected)
        stream = rewrite(tf.constant(file), inspect_image(tf.constant(file))).numpy()[0]
        assert b"zTXt" not in stream
        assert stream == png_with()


def test_data_chunks_of_any_lengths_are_read() -> None:
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 256, (60, 60, 3))
    for size in (1, 2, 7, 1000):
        assert verdict(write_png(rng, samples, 8, 2, chunk_size=size)) == "equal"
