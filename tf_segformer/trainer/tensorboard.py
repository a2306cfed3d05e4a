"""Scalars and pictures for TensorBoard.

`tf.summary.scalar` and `image` need the tensorboard package, which TensorFlow no longer brings along; the
event files themselves do not. `tensorboard --logdir OUTPUT` reads them.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf
from PIL import Image

_Summary = tf.compat.v1.Summary


class EventFile:
    """An event file in a folder; a training that goes on adds another one.

    Args:
        folder: Made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._writer = tf.summary.create_file_writer(str(folder))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers, each under its name."""
        self._write([_Summary.Value(tag=name, simple_value=value) for name, value in values.items()], step)

    def picture(self, name: str, picture: Image.Image, step: int) -> None:
        """Write an RGB picture."""
        content = io.BytesIO()
        picture.save(content, format="PNG")
        image = _Summary.Image(
            height=picture.height, width=picture.width, colorspace=3, encoded_image_string=content.getvalue()
        )
        self._write([_Summary.Value(tag=name, image=image)], step)

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()

    def _write(self, values: list, step: int) -> None:
        with self._writer.as_default():
            tf.summary.experimental.write_raw_pb(_Summary(value=values).SerializeToString(), step=step)
            self._writer.flush()
