"""The reference: transformers' PyTorch SegFormer and PIL image processor, run as its users run it.

This package is independent evidence for the port. It never imports TensorFlow, Keras or the port.

    >>> from torch_ref import Reference
    >>> reference = Reference.from_pretrained("path/of/a/checkpoint")  # doctest: +SKIP
    >>> label_map = reference.segment("photo.jpg")  # doctest: +SKIP
"""

from torch_ref.errors import CheckpointError, ImageError
from torch_ref.pipeline import decode_image, label_map, save_label_map
from torch_ref.reference import Reference, ReferenceOutputs
from torch_ref.seeded import VARIANTS, write_seeded_checkpoint
from torch_ref.taps import published_keys, record_taps, tap_names

__all__ = [
    "VARIANTS",
    "CheckpointError",
    "ImageError",
    "Reference",
    "ReferenceOutputs",
    "decode_image",
    "label_map",
    "published_keys",
    "record_taps",
    "save_label_map",
    "tap_names",
    "write_seeded_checkpoint",
]
