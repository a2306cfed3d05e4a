"""From a batch of image files to pixels of the network's size, each file on its own.

One file that is damaged, empty, too large or no image must not fail the requests that a server merged
with it: it gets a status text and keeps its place in the batch, filled with zeros.

Axes: N batch; H W height and width for the network, the largest of the batch where they differ.
"""

from __future__ import annotations

import tensorflow as tf

from serving.graph import Tensors
from serving.options import ExportOptions
from tf_segformer.exif import apply_orientation
from tf_segformer.image_decoding import FORMATS, Kind, read_orientation
from tf_segformer.isolated_decoding import Decoded, decode_batch, image_at
from tf_segformer.preprocessing import ImageProcessing
from tf_segformer.resizing import network_size, resize_by

PARALLEL_IMAGES = 4  # of a batch are resized at the same time
# Where images keep their shape: the largest that goes through the network whole. The time of attention grows
# with the square of this, the memory of feature maps in proportion.
MAX_NETWORK_PIXELS = 1 << 22

STATUSES = (
    OK := b"ok",
    EMPTY := b"empty file",
    TOO_LONG := b"too many bytes: ",  # their number and the limit follow
    FOREIGN := b"unknown format; expected " + ", ".join(FORMATS).encode(),
    TOO_LARGE := b"too large: ",  # the size and the limit follow
    UNFIT := b"too narrow, too small or too large for the network: ",  # the size follows
    UNREADABLE := b"damaged, or of a kind that is not supported",
)


def prepare_files(
    image_bytes: tf.Tensor, processing: ImageProcessing, options: ExportOptions, smallest: int
) -> Tensors:
    """Decode a batch of image files and resize them.

    Only decoding can fail, and it is isolated; see `tf_segformer.isolated_decoding`. All that is decided
    here is decided by what the files' heads say.

    Args:
        image_bytes: string [N], the files.
        processing: the checkpoint's preprocessing.
        options: the export's.
        smallest: the least height and width in pixels that the network takes.

    Returns:
        ``pixels`` uint8 [N, H, W, 3], RGB, padded with zeros where images have different sizes;
        ``network_height`` and ``network_width`` int32 [N], each image's size in there;
        ``height`` and ``width`` int32 [N], each image's own; ``status_bytes`` string [N], "ok" or what
        was wrong; ``readable`` bool [N]. All numbers of an image that is not readable are 0.
        ``decoded``, a list, and for each image ``place`` and ``orientation`` int32 [N]: what `upright` takes.
    """
    decoded = decode_batch(
        image_bytes, max_pixels=options.max_pixels, max_bytes=options.max_bytes, webp=options.webp
    )
    orientation = tf.ones(tf.shape(image_bytes), tf.int32)
    sizes = decoded.sizes
    if options.exif_orientation:
        spec = tf.TensorSpec([], tf.int32)
        items = (image_bytes, decoded.heads)
        orientation = tf.map_fn(lambda item: read_orientation(*item), items, fn_output_signature=spec)
        sizes = tf.where(orientation[:, tf.newaxis] > 4, sizes[:, ::-1], sizes)
    network, fits = _network_sizes(sizes, processing, options, smallest)
    lengths = tf.strings.length(image_bytes)
    status = _statuses(lengths, decoded, fits)
    readable = tf.equal(status, STATUSES.index(OK))

    shown = tf.where(readable[:, tf.newaxis], tf.cast(sizes, tf.int32), 0)
    texts = _status_texts(status, lengths, sizes, network, options)
    network = tf.where(readable[:, tf.newaxis], network, 0)
    static_size = options.resizing.fixed_size(processing) or (None, None)
    largest = tf.reduce_max(tf.concat([network, [[0, 0]]], axis=0), axis=0)
    if None not in static_size:
        largest = tf.constant(static_size)

    def resize(place: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
        image = upright(decoded.pixels, place, orientation, options)
        image = resize_by(image, processing, options.resizing, pass_order=options.pillow)
        if None not in static_size:
            return image
        missing = largest - tf.shape(image)[:2]
        return tf.pad(image, [[0, missing[0]], [0, missing[1]], [0, 0]])

    def prepare(item: tuple[tf.Tensor, ...]) -> tf.Tensor:
        place, orientation, readable = item

        def nothing() -> tf.Tensor:
            return tf.zeros([largest[0], largest[1], 3], tf.uint8)

        return tf.cond(readable, lambda: resize(place, orientation), nothing)

    places = tf.range(tf.size(image_bytes))
    pixels = tf.map_fn(
        prepare,
        (places, orientation, readable),
        fn_output_signature=tf.TensorSpec([*static_size, 3], tf.uint8),
        parallel_iterations=PARALLEL_IMAGES,
    )
    return {
        "pixels": pixels,
        "network_height": network[:, 0],
        "network_width": network[:, 1],
        "height": shown[:, 0],
        "width": shown[:, 1],
        "status_bytes": texts,
        "readable": readable,
        "decoded": decoded.pixels,
        "place": places,
        "orientation": orientation,
    }


def upright(
    decoded: tf.Tensor, place: tf.Tensor, orientation: tf.Tensor, options: ExportOptions
) -> tf.Tensor:
    """Return the pixels of one decoded image, uint8 [height, width, 3], turned upright if the export does."""
    image = image_at(decoded, place)
    return apply_orientation(image, orientation) if options.exif_orientation else image


def _network_sizes(
    sizes: tf.Tensor, processing: ImageProcessing, options: ExportOptions, smallest: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """The size int32 [N, 2] that each image is brought to, and whether the network takes it, bool [N]."""
    fixed = options.resizing.fixed_size(processing)
    if fixed:
        count = tf.shape(sizes)[0]
        return tf.tile([fixed], [count, 1]), tf.fill([count], True)
    limit = options.max_pixels if options.resizing.policy == "sliding-window" else MAX_NETWORK_PIXELS

    def of_one(size: tf.Tensor) -> tf.Tensor:
        # What is beyond the limits is refused already; clipped, it overflows nothing here.
        size = tf.cast(tf.clip_by_value(size, 1, options.max_pixels), tf.int32)
        return tf.stack(network_size(size[0], size[1], processing, options.resizing, check=False))

    network = tf.map_fn(of_one, sizes, fn_output_signature=tf.TensorSpec([2], tf.int32))
    wide = tf.cast(network, tf.int64)
    return network, (wide[:, 0] * wide[:, 1] <= limit) & (tf.reduce_min(wide, axis=1) >= smallest)


def _statuses(lengths: tf.Tensor, decoded: Decoded, fits: tf.Tensor) -> tf.Tensor:
    """Each image's index in `STATUSES`, int32 [N]."""
    # The last that applies counts.
    applies = {
        OK: tf.fill(tf.shape(lengths), True),
        UNREADABLE: ~decoded.is_decoded,
        UNFIT: (decoded.sizes[:, 0] > 0) & ~fits,
        TOO_LARGE: decoded.is_large,
        FOREIGN: tf.equal(decoded.heads[:, 2], Kind.FOREIGN),
        TOO_LONG: decoded.is_long,
        EMPTY: tf.equal(lengths, 0),
    }
    status = tf.zeros(tf.shape(lengths), tf.int32)
    for text, here in applies.items():
        status = tf.where(here, STATUSES.index(text), status)
    return status


def _status_texts(
    status: tf.Tensor,
    lengths: tf.Tensor,
    sizes: tf.Tensor,
    network_sizes: tf.Tensor,
    options: ExportOptions,
) -> tf.Tensor:
    def pixels(sizes: tf.Tensor) -> tf.Tensor:
        text = tf.strings.as_string(sizes)
        return tf.strings.join([text[:, 0], " x ", text[:, 1], " pixels"])

    details = {
        TOO_LONG: tf.strings.join([tf.strings.as_string(lengths), f"; at most {options.max_bytes} are read"]),
        TOO_LARGE: tf.strings.join([pixels(sizes), f"; at most {options.max_pixels} pixels are read"]),
        UNFIT: pixels(network_sizes),
    }
    texts = tf.gather(tf.constant(STATUSES), status)
    for name, detail in details.items():
        mentioned = tf.equal(status, STATUSES.index(name))
        texts = tf.where(mentioned, tf.strings.join([texts, detail]), texts)
    return texts


def prepare_pixels(pixels: tf.Tensor, processing: ImageProcessing, options: ExportOptions) -> tf.Tensor:
    """Resize images of one size: uint8 [N, h, w, 3] to uint8 [N, H, W, 3]."""
    size = options.resizing.fixed_size(processing) or (None, None)
    return tf.map_fn(
        lambda image: resize_by(image, processing, options.resizing, pass_order=options.pillow),
        pixels,
        fn_output_signature=tf.TensorSpec([*size, 3], tf.uint8),
    )
