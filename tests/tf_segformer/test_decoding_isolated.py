"""A batch of good and bad files, decoded one by one within one call, also from a SavedModel."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.tf_segformer.decoding_cases import by_pillow
from tests.tf_segformer.image_kinds import KINDS, make, saved
from tf_segformer.isolated_decoding import Decoded, decode_batch, image_at

MAX_PIXELS = 50_000


class Decoder(tf.Module):
    def __init__(self, *, webp: bool = True) -> None:
        super().__init__()
        self.webp = webp

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def decode(self, files: tf.Tensor) -> dict[str, tf.Tensor]:
        decoded = decode_batch(files, max_pixels=MAX_PIXELS, webp=self.webp)
        return {"pixels": serialized(decoded), "sizes": decoded.sizes}


def serialized(decoded: Decoded) -> tf.Tensor:
    """The images as strings, "" where there is none."""

    def one(index: tf.Tensor) -> tf.Tensor:
        image = image_at(decoded.pixels, index)
        there = decoded.is_decoded[index] | (tf.size(image) > 0)  # both, or an empty image is found
        return tf.cond(there, lambda: tf.io.serialize_tensor(image), lambda: tf.constant(b""))

    count = tf.size(decoded.is_decoded)
    return tf.map_fn(one, tf.range(count), fn_output_signature=tf.TensorSpec([], tf.string))


def pixels(image: bytes) -> np.ndarray | None:
    return tf.io.parse_tensor(image, tf.uint8).numpy() if image else None


def test_long_files_are_not_looked_at() -> None:
    files = [make("PNG RGB", 5, 30), make("JPEG colour", 5, 30), b"text"]
    limit = min(len(file) for file in files[:2])
    found = decode_batch(tf.constant(files), max_pixels=MAX_PIXELS, max_bytes=limit)
    assert found.is_long.numpy().tolist() == [len(file) > limit for file in files]
    rows = zip(files, serialized(found).numpy(), found.is_long.numpy(), found.heads.numpy(), strict=True)
    for file, image, is_long, head in rows:
        assert (pixels(image) is None) == (bool(is_long) or file == b"text")
        assert not is_long or not np.any(head)


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder()


def test_a_bad_file_leaves_the_others_alone(decoder: Decoder) -> None:
    good = [make(kind, 5, 30) for kind in KINDS]
    bad = [file[: len(file) // 2] for file in good] + [b"", b"text"]
    files = [file for pair in zip([*good, good[0], good[0]], bad, strict=True) for file in pair]
    found = decoder.decode(tf.constant(files))
    for file, image in zip(files, found["pixels"].numpy(), strict=True):
        expected = by_pillow(file)
        if expected is None:
            assert image == b""
        else:
            np.testing.assert_array_equal(pixels(image), expected)


@pytest.mark.parametrize("kind", ["GIF by Pillow", "BMP 8 bits", "WebP animated", "JPEG CMYK", "PNG gray"])
def test_a_file_may_be_cut_anywhere(decoder: Decoder, kind: str) -> None:
    """What reads and rewrites it is outside the datasets, and must raise nothing."""
    file = next(file for file in (make(kind, seed, 90) for seed in range(99)) if len(file) > 1_000)
    files = [file, *(file[: len(file) * part // 40] for part in range(40)), file]
    found = decoder.decode(tf.constant(files))["pixels"].numpy()
    for cut, image in zip(files, found, strict=True):
        if image:
            np.testing.assert_array_equal(pixels(image), by_pillow(cut))
    assert found[0] == found[-1] != b""


def test_a_batch_may_be_empty(decoder: Decoder) -> None:
    found = decoder.decode(tf.constant([], tf.string))
    assert found["pixels"].shape == (0,) and found["sizes"].shape == (0, 2)


def test_too_many_pixels_are_told_from_damage(decoder: Decoder) -> None:
    files = [saved(Image.new("RGB", (501, 100)), name) for name in ("JPEG", "PNG", "GIF", "BMP", "WEBP")]
    found = decoder.decode(tf.constant([*files, files[0][:100]]))
    assert found["pixels"].numpy().tolist() == [b""] * 6
    assert found["sizes"].numpy().tolist() == [[100, 501]] * 5 + [[0, 0]]


def test_webp_can_be_left_out() -> None:
    file = make("WebP lossy", 5, 30)
    decoder = Decoder(webp=False)
    found = decoder.decode(tf.constant([file]))
    assert found["pixels"].numpy().tolist() == [b""]
    assert found["sizes"].numpy().tolist() == [list(by_pillow(file).shape[:2])]


def test_a_session_decodes_from_a_saved_model(decoder: Decoder, tmp_path: Path) -> None:
    tf.saved_model.save(decoder, str(tmp_path), signatures={"serving_default": decoder.decode})
    files = [make(kind, 6, 30) for kind in KINDS]
    files += [file[:-20] for file in files]
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path))
        signature = meta.signature_def["serving_default"]
        feed = {signature.inputs["files"].name: files}
        found = session.run(signature.outputs["pixels"].name, feed)
    eager = decoder.decode(tf.constant(files))["pixels"].numpy()
    assert found.tolist() == eager.tolist()
    assert sum(image != b"" for image in found) >= len(KINDS)
    assert (tmp_path / "saved_model.pb").stat().st_size < 580_000
