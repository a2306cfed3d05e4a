"""What this package needs of the process that imports it."""

import os
import sys

PYTHON_RANGE = ((3, 11), (3, 13))


def check() -> None:
    """Refuse a Python, Keras backend or Keras generation that the port does not run on; imports nothing.

    Raises:
        ImportError: Python outside 3.11-3.13, a Keras backend other than TensorFlow, or the legacy
            Keras 2 asked for; the message says what was found and what to set.
    """
    oldest, newest = PYTHON_RANGE
    found = sys.version_info[:2]
    if not oldest <= found <= newest:
        raise ImportError(
            f"tf_segformer runs on Python {_dotted(oldest)} to {_dotted(newest)}; this is Python "
            f"{_dotted(found)}. Make an environment with one of those, e.g. `python3.12 -m venv`."
        )
    if os.environ.get("TF_USE_LEGACY_KERAS", "0").lower() in ("1", "true"):
        raise ImportError(
            "TF_USE_LEGACY_KERAS is set, so TensorFlow would use Keras 2 (tf-keras); tf_segformer "
            "needs Keras 3. Unset it: `unset TF_USE_LEGACY_KERAS`."
        )
    asked = os.environ.get("KERAS_BACKEND")
    if asked not in (None, "", "tensorflow"):
        raise ImportError(_backend_message(asked, "the environment variable KERAS_BACKEND"))


def check_backend() -> None:
    """Import Keras, which fixes its backend for the whole process, and refuse one other than TensorFlow.

    Raises:
        ImportError: Keras' configuration file names another one.
    """
    import keras

    active = keras.config.backend()
    if active != "tensorflow":
        raise ImportError(_backend_message(active, "keras.json in the Keras home folder"))


def _backend_message(backend: str, source: str) -> str:
    return (
        f"Keras is set to the {backend!r} backend by {source}; tf_segformer needs 'tensorflow'. "
        "Set KERAS_BACKEND=tensorflow before Python starts."
    )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
