"""To which size a photograph is brought for the network: the checkpoint's way, or three others.

The published preprocessing squashes every photograph to one size, whatever its shape. The other
policies keep its shape. All sizes are found by exact integer arithmetic, so that eager code, a
graph and the reference's side agree on every size.

Axis legend: h, w the photograph's height and width; H, W those of the network's input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self, get_args

import tensorflow as tf

from tf_segformer import resampling
from tf_segformer.preprocessing import ImageProcessing, normalize, output_size

Policy = Literal["checkpoint", "keep-ratio", "paper", "sliding-window"]
POLICIES: tuple[Policy, ...] = get_args(Policy)

LOGIT_STRIDE = 4  # pixels of the network's input per logit, along each axis
SMALLEST_WINDOW = 32  # the encoder's whole stride: below it a feature map is empty

# Which options each policy takes.
_OPTIONS = {
    "checkpoint": (),
    "keep-ratio": ("short_side", "long_side", "multiple"),
    "paper": (),
    "sliding-window": ("short_side", "long_side", "multiple", "window", "stride"),
}

Size = tuple[int | tf.Tensor, int | tf.Tensor]


@dataclass(frozen=True)
class Resizing:
    """How photographs are resized for the network, and whether it sees them whole or in windows.

    - "checkpoint": as the checkpoint's `preprocessor_config.json` says.
    - "keep-ratio": the scale is the largest at which the shorter side is at most `short_side` and
      the longer at most `long_side`. Both sides are scaled, rounded to the nearest whole number (half
      up, at least 1), then rounded up to a multiple of `multiple`. The photograph is resized once,
      straight to that size.
    - "paper": the evaluation protocol of the SegFormer paper for ADE20K (Xie et al., arXiv
      2105.15203, section 4.1: single scale, aspect ratio kept): "keep-ratio" with 512, 2048 and 32.
      The paper's code resizes by OpenCV's bilinear filter, which leaves pixels out when shrinking;
      here the checkpoint's filter, by default Pillow's antialiased one, is used. Sizes are the
      paper's, pixels are not, so its mIoU is approached, not reproduced to the digit.
    - "sliding-window": the photograph is scaled as for "keep-ratio", but never so that it is
      smaller than the window in either direction, and the network sees one window of it at a time;
      see `image_logits.sliding_logits`. Where the two limits contradict each other (a photograph
      narrower than the window at the longest `long_side`), the sides do not keep their ratio.

    Attributes:
        policy: one of the four above.
        short_side: length of the shorter side in pixels. Default: the checkpoint's size (the smaller
            of its height and width), or the window's height. 0, for "sliding-window" only:
            the photograph's own size, enlarged only if the window would not fit; then memory grows
            with the photograph: the logits of 12 megapixels and 150 classes take 450 MB.
        long_side: limit of the longer side in pixels, before it is rounded up. Default: 4 times
            `short_side`, or 4 times the window's longer side if `short_side` is 0. Bounds the memory
            that a very long and narrow file can take. Where `short_side` is 0 it limits enlarging only.
        multiple: sides are rounded up to a multiple of this many pixels. Default: 32, the encoder's
            whole stride; for "sliding-window" 4, the logits' stride.
        window: height and width of the window in pixels, multiples of 4. Default: the checkpoint's size.
        stride: vertical and horizontal distance of neighbouring windows in pixels, multiples of 4,
            at most the window's. Default: three quarters of the window, as 768 of 1024 in the paper's
            protocol for Cityscapes.

    Raises:
        ValueError: an option has no usable value, or is not one of the policy's.
    """

    policy: Policy = "checkpoint"
    short_side: int | None = None
    long_side: int | None = None
    multiple: int | None = None
    window: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"policy is {self.policy!r}; expected one of {', '.join(POLICIES)}.")
        allowed = _OPTIONS[self.policy]
        for name in _OPTIONS["sliding-window"]:
            value = getattr(self, name)
            if value is not None and name not in allowed:
                raise ValueError(
                    f"{name} is {value!r}, but the policy {self.policy!r} takes "
                    f"{'only ' + ', '.join(allowed) if allowed else 'no options'}. Leave it out, or choose "
                    f"{' or '.join(repr(p) for p in POLICIES if name in _OPTIONS[p])}."
                )
        smallest = 0 if self.policy == "sliding-window" else 1
        _check_length("short_side", self.short_side, smallest)
        _check_length("long_side", self.long_side, 1)
        _check_length("multiple", self.multiple, 1)
        if self.short_side and self.long_side and self.long_side < self.short_side:
            raise ValueError(
                f"long_side is {self.long_side}, expected at least short_side, {self.short_side} pixels."
            )
        if self.policy == "sliding-window":
            _check_windows(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` returned, or the like from JSON, where pairs are lists.

        Raises:
            ValueError: an entry is unknown or has no usable value.
        """
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(
                f"unknown entries {', '.join(sorted(map(repr, unknown)))}; "
                f"expected some of {', '.join(cls.__dataclass_fields__)}."
            )
        entries: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
        return cls(**entries)

    def to_dict(self) -> dict[str, Any]:
        """Return the policy and the options that are given, ready for JSON."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if value is not None
        }

    def completed(self, processing: ImageProcessing) -> Self:
        """Return the same with every option of the policy given: the defaults of this checkpoint.

        "paper" becomes the "keep-ratio" that it stands for.

        Raises:
            ValueError: a default does not fit the other options, such as a window with a side that
                is not a multiple of 4.
        """
        if self.policy == "checkpoint":
            return self
        if self.policy == "paper":
            return replace(self, policy="keep-ratio", short_side=512, long_side=2048, multiple=32)
        edge = processing.shortest_edge
        height, width = (edge, edge) if edge else (processing.height, processing.width)
        if self.policy == "keep-ratio":
            short = self.short_side or min(height, width)
            long = 4 * short if self.long_side is None else self.long_side
            return replace(self, short_side=short, long_side=long, multiple=self.multiple or 32)
        window = self.window or (height, width)
        stride = self.stride or (_three_quarters(window[0]), _three_quarters(window[1]))
        short = window[0] if self.short_side is None else self.short_side
        return replace(
            self,
            short_side=short,
            long_side=self.long_side or 4 * (short or max(window)),
            multiple=self.multiple or LOGIT_STRIDE,
            window=window,
            stride=stride,
        )

    def fixed_size(self, processing: ImageProcessing) -> tuple[int, int] | None:
        """Return the (H, W) that every photograph is brought to, or None if they differ.

        Only photographs of one size can go through the network as a batch.
        """
        if self.policy == "checkpoint" and processing.do_resize and processing.shortest_edge is None:
            return processing.height, processing.width
        return None


def _three_quarters(side: int) -> int:
    return max(3 * side // 4 // LOGIT_STRIDE, 1) * LOGIT_STRIDE


def _check_length(name: str, value: Any, smallest: int) -> None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= smallest):
        return
    raise ValueError(f"{name} is {value!r}, expected a whole number of pixels, at least {smallest}.")


def _check_windows(resizing: Resizing) -> None:
    for name, smallest in (("window", SMALLEST_WINDOW), ("stride", LOGIT_STRIDE)):
        pair = getattr(resizing, name)
        if pair is None:
            continue
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(f"{name} is {pair!r}, expected (height, width) in pixels.")
        for side in pair:
            _check_length(name, side, smallest)
            if side % LOGIT_STRIDE:
                raise ValueError(
                    f"{name} is {pair!r}, expected multiples of {LOGIT_STRIDE}, so that the logits of all "
                    f"windows lie on one grid. Next: {-(-side // LOGIT_STRIDE) * LOGIT_STRIDE}."
                )
    if resizing.multiple is not None and resizing.multiple % LOGIT_STRIDE:
        raise ValueError(f"multiple is {resizing.multiple}, expected a multiple of {LOGIT_STRIDE}.")
    window, stride = resizing.window, resizing.stride
    if window and stride and (stride[0] > window[0] or stride[1] > window[1]):
        raise ValueError(f"stride is {stride}, larger than the window, {window}: pixels would be left out.")


def network_size(
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    processing: ImageProcessing,
    resizing: Resizing = Resizing(),
    *,
    check: bool = True,
) -> Size:
    """Return the size (H, W) in pixels to which a photograph is resized.

    Args:
        height: h in pixels, at least 1, a Python int or an int32 scalar.
        width: w in pixels.
        processing: the checkpoint's preprocessing.
        resizing: the policy.
        check: whether a photograph that would get an empty side is an error, as in `output_size`.

    Returns:
        two Python ints where the size is fixed, or int32 scalars.
    """
    plan = resizing.completed(processing)
    if plan.policy == "checkpoint":
        return output_size(height, width, processing, check=check)
    h, w = tf.cast(height, tf.int64), tf.cast(width, tf.int64)
    scale, multiple, smallest = _scale(h, w, plan), plan.multiple or 1, plan.window or (1, 1)
    return _scaled(h, scale, multiple, smallest[0]), _scaled(w, scale, multiple, smallest[1])


# A scale is a fraction of two int64 scalars: exact, unlike a float64.
Fraction = tuple[tf.Tensor, tf.Tensor]


def _scale(height: tf.Tensor, width: tf.Tensor, plan: Resizing) -> Fraction:
    short, long = tf.minimum(height, width), tf.maximum(height, width)
    one = tf.ones([], tf.int64)
    limit = (plan.long_side * one, long)
    own = plan.short_side == 0
    scale = (one, one) if own else (plan.short_side * one, short)
    if plan.window is None:
        return _smaller(scale, limit)
    fit = _larger((plan.window[0] * one, height), (plan.window[1] * one, width))
    return _larger(scale, _smaller(fit, limit)) if own else _smaller(_larger(scale, fit), limit)


def _smaller(a: Fraction, b: Fraction) -> Fraction:
    takes_a = a[0] * b[1] <= b[0] * a[1]
    return tf.where(takes_a, a[0], b[0]), tf.where(takes_a, a[1], b[1])


def _larger(a: Fraction, b: Fraction) -> Fraction:
    takes_a = a[0] * b[1] >= b[0] * a[1]
    return tf.where(takes_a, a[0], b[0]), tf.where(takes_a, a[1], b[1])


def _scaled(side: tf.Tensor, scale: Fraction, multiple: int, smallest: int) -> tf.Tensor:
    """Scale a side, round it (half up), then up to a multiple: int32."""
    rounded = tf.maximum((2 * side * scale[0] + scale[1]) // (2 * scale[1]), smallest)
    return tf.cast(-(-rounded // multiple) * multiple, tf.int32)


def resize_by(
    pixels: tf.Tensor,
    processing: ImageProcessing,
    resizing: Resizing = Resizing(),
    *,
    pass_order: resampling.PassOrder = "pillow>=13",
) -> tf.Tensor:
    """Resize a photograph's pixels for the network under a policy.

    Policies other than "checkpoint" resize even where the checkpoint's `do_resize` is false, by its
    filter.

    Args:
        pixels: uint8 [h, w, 3], RGB.
        processing: the checkpoint's preprocessing.
        resizing: the policy.
        pass_order: which Pillow the resizing follows, see `resampling.resize`.

    Returns:
        uint8 [H, W, 3].
    """
    if resizing.policy == "checkpoint" and not processing.do_resize:
        return pixels
    height, width = network_size(tf.shape(pixels)[0], tf.shape(pixels)[1], processing, resizing)
    return resampling.resize(pixels, height, width, processing.resample, pass_order=pass_order)


def preprocess_by(
    pixels: tf.Tensor,
    processing: ImageProcessing,
    resizing: Resizing = Resizing(),
    *,
    pass_order: resampling.PassOrder = "pillow>=13",
) -> tf.Tensor:
    """Turn a photograph's pixels into the network's input under a policy.

    Under "checkpoint" this is `preprocess`. Arguments as for `resize_by`.

    Returns:
        float32 [H, W, 3].
    """
    return normalize(resize_by(pixels, processing, resizing, pass_order=pass_order), processing)
