"""The adapters that segment one photograph after the other: bytes in, labels and logits out.

As in `runners.py`, a framework is touched inside functions only. Photographs go through one at a time:
in float32 the last bits of a result depend on the size of its batch, and a run that is resumed must not
depend on where it was interrupted.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parity.results import sha256_of
from parity.running import HarnessError, Say, mask_labels


@dataclass(frozen=True)
class Answer:
    """What a side says of one photograph.

    Attributes:
        labels: int (H, W), at the photograph's own size.
        logits: float32 (h, w, K); None from an export that does not give them.
    """

    labels: np.ndarray
    logits: np.ndarray | None


@dataclass(frozen=True)
class Side:
    """One of the two sides of a comparison of label maps.

    Attributes:
        name: ``torch_ref``, ``tf_segformer`` or ``saved_model``.
        identity: what decides about its numbers, e.g. hashes; JSON values.
        class_names: one a class; empty if it does not know them.
        gives_logits: whether its answers have logits.
        segment: from an image file's bytes and name to the answer.
    """

    name: str
    identity: dict[str, Any]
    class_names: tuple[str, ...]
    gives_logits: bool
    segment: Callable[[bytes, str], Answer]


def reference_side(model: str, say: Say) -> Side:
    """The PyTorch pipeline as its users run it: Pillow, transformers' processor, model, post-processing.

    Args:
        model: checkpoint folder or hub id.
        say: told about each step.
    """
    say("loading PyTorch and the reference")
    from torch_ref import Reference, decode_image

    reference = Reference.from_pretrained(model)

    def segment(content: bytes, name: str) -> Answer:
        picture = decode_image(content)
        logits = reference.forward(reference.preprocess(picture), with_attentions=False).logits
        labels = reference.label_map(logits, (picture.height, picture.width))
        return Answer(labels, np.ascontiguousarray(np.moveaxis(logits[0], 0, -1)))

    digest = hashlib.sha256()
    for key, tensor in sorted(reference.model.state_dict().items()):
        digest.update(key.encode())
        digest.update(sha256_of([tensor.numpy()]).encode())
    processing = json.dumps(reference.processor.to_dict(), sort_keys=True, default=str)
    identity = {
        "weights_sha256": digest.hexdigest(),
        "preprocessing_sha256": hashlib.sha256(processing.encode()).hexdigest(),
    }
    names: dict[Any, str] = reference.config.id2label or {}
    class_names = tuple(str(names.get(label, label)) for label in range(reference.config.num_labels or 0))
    return Side("torch_ref", identity, class_names, True, segment)


def keras_side(model: str, say: Say) -> Side:
    """The Keras model, with decoding, preprocessing and label map in the graph.

    Args:
        model: checkpoint folder or hub id.
        say: told about each step.
    """
    say("loading TensorFlow and the Keras model")
    import tensorflow as tf

    from tf_segformer.postprocessing import label_map
    from tf_segformer.preprocessing import decode_image, preprocess
    from tf_segformer.segmentation import Segmenter

    segmenter = Segmenter(model)

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def run(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = decode_image(content)
        pixel_values = preprocess(pixels, segmenter.processing)
        logits = segmenter.model(pixel_values[tf.newaxis]).logits[0]
        height, width, _ = tf.unstack(tf.shape(pixels))
        return label_map(logits, height, width), logits

    def segment(content: bytes, name: str) -> Answer:
        labels, logits = run(tf.constant(content))
        return Answer(labels.numpy(), logits.numpy())

    processing = json.dumps(asdict(segmenter.processing), sort_keys=True)
    identity = {"preprocessing_sha256": hashlib.sha256(processing.encode()).hexdigest()}
    return Side("tf_segformer", identity, (), True, segment)


@contextmanager
def saved_model_side(version_dir: Path, say: Say, *, logits: bool = True) -> Iterator[Side]:
    """An export in a TF1 Session, given nothing but the file's bytes.

    Args:
        version_dir: `models/NAME/VERSION`.
        say: told about each step.
        logits: whether its logits are wanted too; False for an export without `logits_from_bytes`.

    Raises:
        HarnessError: it has no such signature.
    """
    say("loading the SavedModel in a Session")
    from serving.session_check import ServedModel

    with ServedModel(version_dir) as served:
        wanted = ["serving_default", *(["logits_from_bytes"] if logits else [])]
        for signature in wanted:
            if signature not in served.signatures:
                hint = "compare its label maps alone with --no-logits" if "logits" in signature else ""
                raise HarnessError(
                    f"the export {version_dir} has no signature {signature}; it has "
                    f"{', '.join(sorted(served.signatures))}" + (f": {hint}" if hint else "")
                )

        def segment(content: bytes, name: str) -> Answer:
            batch = {"image_bytes": np.array([content], dtype=object)}
            labels = mask_labels(served.run("serving_default", batch), name)
            return Answer(labels, served.run("logits_from_bytes", batch)["logits"][0] if logits else None)

        files = sorted(path for path in version_dir.rglob("*") if path.is_file())
        identity = {"export_sha256": sha256_of(files), "logits": logits}
        yield Side("saved_model", identity, (), logits, segment)


def read_photograph(path: Path) -> bytes:
    """The bytes of a photograph that was there when the dataset was checked.

    Raises:
        HarnessError: it is no longer there.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise HarnessError(f"cannot read {path}: {error.strerror or error}") from error


def picture_of(content: bytes) -> np.ndarray:
    """The photograph itself: uint8 (H, W, 3)."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))
