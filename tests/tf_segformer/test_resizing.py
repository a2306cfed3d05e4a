"""The resizing policies: their sizes and pixels, against the reference's side, to the bit."""

import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import SegformerImageProcessorPil

from tf_segformer.preprocessing import ImageProcessing, preprocess
from tf_segformer.resizing import Resizing, network_size, preprocess_by
from torch_ref import resizing as reference

SQUARE = ImageProcessing(height=64, width=64)
POLICIES = {
    "keep-ratio": Resizing("keep-ratio"),
    "keep-ratio, odd": Resizing("keep-ratio", short_side=50, long_side=83, multiple=7),
    "keep-ratio, exact": Resizing("keep-ratio", short_side=50, long_side=1000, multiple=1),
    "paper": Resizing("paper"),
    "sliding-window": Resizing("sliding-window"),
    "sliding-window, own size": Resizing("sliding-window", short_side=0),
    "sliding-window, wide": Resizing("sliding-window", short_side=40, window=(32, 80), multiple=32),
}
SCALAR = tf.TensorSpec([], tf.int32)
PIXELS = tf.TensorSpec([None, None, 3], tf.uint8)


def sizes_in_graph(resizing, processing=SQUARE):
    return tf.function(
        lambda h, w: network_size(h, w, processing, resizing),
        input_signature=[SCALAR, SCALAR],
        autograph=False,
    )


SIZES = {name: sizes_in_graph(resizing) for name, resizing in POLICIES.items()}


def options(resizing, processing=SQUARE):
    """As parity hands them to the reference: through JSON."""
    return json.loads(json.dumps(resizing.completed(processing).to_dict()))


side = st.one_of(st.integers(1, 300), st.integers(1, 20_000))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(name=st.sampled_from(sorted(POLICIES)), height=side, width=side)
@example(name="keep-ratio", height=1, width=20_000)
@example(name="sliding-window", height=20_000, width=1)
@example(name="sliding-window, own size", height=1, width=20_000)
@example(name="sliding-window, own size", height=63, width=20_000)
def test_sizes_are_the_references(name, height, width):
    given_options = options(POLICIES[name])
    expected = reference.target_size(height, width, **given_options | {"policy": None})
    assert tuple(int(n) for n in SIZES[name](height, width)) == expected
    assert all(n % given_options["multiple"] == 0 for n in expected)
    if "window" in given_options:
        assert all(n >= w for n, w in zip(expected, given_options["window"], strict=True))
    if POLICIES[name].short_side != 0:  # bounded, whatever the file
        limit = max(given_options["long_side"], *given_options.get("window", [1]))
        assert max(expected) < limit + given_options["multiple"]


@pytest.mark.parametrize(
    ("policy", "photograph", "expected"),
    [
        # (2048, 512) of ADE20K: 683 x 512 is the short side's limit, 2000 x 400 the long side's.
        ("paper", (427, 640), (512, 768)),  # 512 / 427 * 640 = 767.4
        ("paper", (512, 683), (512, 704)),
        ("paper", (400, 2000), (416, 2048)),  # 409.6, 2048
        ("keep-ratio", (427, 640), (64, 96)),
        ("keep-ratio", (640, 427), (96, 64)),
        ("keep-ratio, exact", (427, 640), (50, 75)),  # 74.94
        ("keep-ratio, exact", (20, 29), (50, 73)),  # 72.5
        ("keep-ratio, exact", (1, 20_000), (1, 1000)),  # 0.05
        ("sliding-window", (427, 640), (64, 96)),
        ("sliding-window", (100, 100), (64, 64)),
        ("sliding-window, own size", (427, 640), (428, 640)),
        ("sliding-window, own size", (32, 48), (64, 96)),  # the window would not fit
        ("sliding-window, own size", (1, 1000), (64, 1000)),
    ],
)
def test_sizes_worked_out_by_hand(policy, photograph, expected):
    assert tuple(int(n) for n in SIZES[policy](*photograph)) == expected


def test_defaults_are_the_checkpoints():
    processing = ImageProcessing(height=640, width=512)
    assert Resizing("keep-ratio").completed(processing).short_side == 512
    assert Resizing("keep-ratio", short_side=300).completed(processing).long_side == 1200
    windows = Resizing("sliding-window").completed(processing)
    assert (windows.window, windows.stride, windows.short_side) == ((640, 512), (480, 384), 640)
    cityscapes = Resizing("sliding-window").completed(ImageProcessing(height=1024, width=1024))
    assert cityscapes.stride == (768, 768)
    edge = Resizing("sliding-window").completed(ImageProcessing(shortest_edge=96))
    assert edge.window == (96, 96)
    assert Resizing().completed(processing) == Resizing()


def test_only_the_checkpoints_own_size_is_fixed():
    assert Resizing().fixed_size(SQUARE) == (64, 64)
    assert Resizing().fixed_size(ImageProcessing(shortest_edge=64)) is None
    assert Resizing().fixed_size(ImageProcessing(do_resize=False)) is None
    assert Resizing("keep-ratio").fixed_size(SQUARE) is None


def test_it_survives_json():
    for resizing in (Resizing(), *POLICIES.values()):
        assert Resizing.from_dict(json.loads(json.dumps(resizing.to_dict()))) == resizing
    with pytest.raises(ValueError, match="unknown entries 'side'"):
        Resizing.from_dict({"policy": "paper", "side": 3})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"policy": "stretch"}, "policy is 'stretch'; expected one of checkpoint, keep-ratio"),
        ({"policy": "checkpoint", "short_side": 9}, "takes no options.*choose 'keep-ratio' or 'sliding"),
        ({"policy": "paper", "multiple": 32}, "multiple is 32, but the policy 'paper' takes no options"),
        ({"policy": "keep-ratio", "window": (64, 64)}, "takes only short_side, long_side, multiple"),
        ({"policy": "keep-ratio", "short_side": 0}, "short_side is 0, expected .* at least 1"),
        ({"policy": "keep-ratio", "short_side": 2.5}, r"short_side is 2\.5, expected a whole number"),
        ({"policy": "keep-ratio", "short_side": 9, "long_side": 8}, "long_side is 8, expected at least"),
        ({"policy": "sliding-window", "window": 64}, r"window is 64, expected \(height, width\)"),
        ({"policy": "sliding-window", "window": (28, 64)}, "window is 28, .* at least 32"),
        ({"policy": "sliding-window", "window": (64, 66)}, "multiples of 4, .* Next: 68"),
        ({"policy": "sliding-window", "stride": (0, 4)}, "stride is 0, .* at least 4"),
        ({"policy": "sliding-window", "multiple": 6}, "multiple is 6, expected a multiple of 4"),
        ({"policy": "sliding-window", "window": (64, 64), "stride": (64, 68)}, "larger than the window"),
    ],
)
def test_what_makes_no_sense_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Resizing(**values)


def test_a_default_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="multiples of 4"):
        Resizing("sliding-window").completed(ImageProcessing(height=50, width=50))
    with pytest.raises(ValueError, match="larger than the window"):
        Resizing("sliding-window", stride=(96, 96)).completed(SQUARE)
    with pytest.raises(ValueError, match="long_side is 32"):
        Resizing("keep-ratio", long_side=32).completed(SQUARE)


VALUES = {
    name: tf.function(
        lambda pixels, r=resizing: preprocess_by(pixels, SQUARE, r), input_signature=[PIXELS], autograph=False
    )
    for name, resizing in POLICIES.items()
    if name not in ("paper", "keep-ratio")  # the first is slow, the second the next one
}


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(sorted(VALUES)),
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    seed=st.integers(0, 2**32 - 1),
)
def test_pixel_values_are_the_references(name, height, width, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    processor = SegformerImageProcessorPil(size={"height": 64, "width": 64})
    expected = reference.preprocess_by(Image.fromarray(pixels), processor, **options(POLICIES[name]))
    found = VALUES[name](pixels).numpy()
    np.testing.assert_array_equal(np.moveaxis(found, -1, 0), expected[0], strict=True)


@pytest.mark.parametrize(
    "processing", [SQUARE, ImageProcessing(do_resize=False), ImageProcessing(shortest_edge=20)]
)
def test_the_checkpoints_policy_changes_nothing(processing):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    np.testing.assert_array_equal(preprocess_by(pixels, processing), preprocess(pixels, processing))


def test_other_policies_resize_where_the_checkpoint_does_not():
    pixels = np.zeros((30, 50, 3), np.uint8)
    values = preprocess_by(pixels, ImageProcessing(do_resize=False), Resizing("keep-ratio", short_side=64))
    assert values.shape == (64, 128, 3)
