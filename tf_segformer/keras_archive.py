"""Reads the weights of a `.keras` file without Keras' general loader, which can be made to run code."""

import json
import warnings
import zipfile
from pathlib import Path

import numpy as np

from tf_segformer.weights import CheckpointError, state_dict

_MAX_CONFIG_BYTES = 1 << 24


class KerasArchive:
    """The weights in a `.keras` file of one of this package's models, as a PyTorch state dict.

    Only the archive's model config and weights are read: the class is looked up among this package's own, and
    nothing else that the config names (a loss, an optimiser, custom objects) is made.
    """

    def __init__(self, path: Path) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.getinfo("config.json").file_size > _MAX_CONFIG_BYTES:
                    raise ValueError(f"its config.json is larger than {_MAX_CONFIG_BYTES} bytes")
                fields = json.loads(archive.read("config.json"))
            registered = fields["registered_name"] or fields["class_name"]
            config = fields["config"]["config"]
            dtype = fields["config"]["dtype"]["config"]["name"]
        except (zipfile.BadZipFile, OSError, ValueError, KeyError, TypeError) as error:
            raise _unreadable(path, error) from error
        model_class = _model_classes().get(registered)
        if model_class is None:
            raise CheckpointError(
                f"{path} holds a model of class {registered!r}; expected one of this package's "
                f"({', '.join(_model_classes())}). Load it with keras.saving.load_model, and save its "
                "SegFormer with save_pretrained."
            )
        try:
            model = model_class(config, dtype=str(dtype))
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # Keras only warns of weights that are missing
                model.load_weights(path)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, UserWarning) as error:
            raise _unreadable(path, error) from error
        self._state = state_dict(model)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every key with its shape, as in PyTorch."""
        return {key: value.shape for key, value in self._state.items()}

    def read(self, key: str) -> np.ndarray:
        """The value of one key, in PyTorch's layout."""
        value = self._state[key]
        # NumPy knows bfloat16 only as a foreign type; the widening is exact
        return value.astype(np.float32) if value.dtype.name == "bfloat16" else value


def _model_classes() -> dict[str, type]:
    from tf_segformer import modeling

    names = ("TFSegformerModel", "TFSegformerForImageClassification", "TFSegformerForSemanticSegmentation")
    return {f"tf_segformer>{name}": getattr(modeling, name) for name in names}


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return CheckpointError(
        f"{path} ({path.stat().st_size} bytes) is not a readable .keras file of this package's models: "
        f"{type(error).__name__}: {first_line} Save it again, or fetch it again."
    )
