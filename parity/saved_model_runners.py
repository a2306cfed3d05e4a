"""An export as runners: in a TF1 Session, as TensorFlow Serving runs it, and as Python programs load it.

TensorFlow is imported inside functions only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from parity.result_writer import ResultWriter
from parity.results import Result
from parity.running import HarnessError, Request, Say, manifest_of, mask_labels, need

# What is run for each level: a signature, from the reference's pixels or from the file's bytes.
SIGNATURES = {"logits": "logits", "labels/original_size": "serving_default"}
Run = Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]]


def run_saved_model(request: Request, output: Path, given: Result | None, say: Say) -> Result:
    """Run an export as TensorFlow Serving does: in a TF1 Session, without eager mode.

    Its logits are computed from the reference's pixels; its label map comes from the image file's
    bytes, decoded and prepared inside the graph.

    Args:
        request: what to compute; `saved_model` is the version directory.
        output: folder for the result.
        given: the reference's result.
        say: told about each step.

    Raises:
        HarnessError: the export has no signature for a required level.
    """
    return _run("saved_model", "in a Session", _in_a_session, request, output, given, say)


def run_loaded_saved_model(request: Request, output: Path, given: Result | None, say: Say) -> Result:
    """Run an export as Python programs do: `tf.saved_model.load`, its signatures called eagerly.

    Args:
        request: what to compute; `saved_model` is the version directory.
        output: folder for the result.
        given: the reference's result.
        say: told about each step.

    Raises:
        HarnessError: the export has no signature for a required level.
    """
    return _run("saved_model/loaded", "into this process", _in_this_process, request, output, given, say)


@contextmanager
def _in_a_session(version_dir: Path) -> Iterator[tuple[Collection[str], Run]]:
    from serving.session_check import CheckError, ServedModel

    try:
        with ServedModel(version_dir) as served:
            yield served.signatures, served.run
    except CheckError as error:
        raise HarnessError(str(error)) from error


@contextmanager
def _in_this_process(version_dir: Path) -> Iterator[tuple[Collection[str], Run]]:
    import tensorflow as tf

    if not (version_dir / "saved_model.pb").is_file():
        raise HarnessError(f"{version_dir}: no saved_model.pb; give models/NAME/VERSION")
    loaded = tf.saved_model.load(str(version_dir))

    def run(signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        answer = loaded.signatures[signature](**{name: tf.constant(x) for name, x in inputs.items()})
        return {name: value.numpy() for name, value in answer.items()}

    yield tuple(loaded.signatures), run


def _run(
    runner: str, how: str, opened: Any, request: Request, output: Path, given: Result | None, say: Say
) -> Result:
    given = need(given)
    if request.saved_model is None:
        raise HarnessError(f"the {runner} runner needs --saved-model, a version directory")
    say(f"loading the SavedModel {how}")
    writer = ResultWriter(output)
    with opened(request.saved_model) as (signatures, run):
        for level in request.levels:
            if SIGNATURES.get(level) not in signatures:
                raise HarnessError(
                    f"the export {request.saved_model} cannot give {level}; its signatures are "
                    f"{', '.join(sorted(signatures))}: leave the level out with --levels"
                )
        pixels = given.arrays["pixels"]
        started = time.perf_counter()
        if "logits" in request.levels:
            say("SavedModel: logits of the reference's pixels")
            (logits,) = run("logits", {"pixel_values": pixels}).values()
            writer.add("logits", logits)
        if "labels/original_size" in request.levels:
            say("SavedModel: image bytes to label map")
            images = np.array([request.image.read_bytes()], dtype=object)
            answer = run("serving_default", {"image_bytes": images})
            writer.add("labels/original_size", mask_labels(answer, request.image.name)[None])
        seconds = time.perf_counter() - started
    manifest = replace(
        manifest_of(runner, request, seconds, pixels, given.manifest.image_size),
        checkpoint="/".join(request.saved_model.resolve().parts[-2:]),
        checkpoint_sha256="",
    )
    return writer.finish(manifest)
