"""The two errors a caller of the reference should expect: a bad checkpoint and a bad image."""


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, incomplete or not a SegFormer; the message says which."""


class ImageError(ValueError):
    """An image is missing or cannot be decoded; the message says which and why."""
