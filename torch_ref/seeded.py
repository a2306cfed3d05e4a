"""Seeded, full-width checkpoints in the published file layout, for machines that reach no hub.

The folder looks like one of NVIDIA's: `config.json`, `preprocessor_config.json` in the old style,
and weights under the published keys, so that the real loading code is what runs. The values are
random (see `torch_ref.initialisation`) and the labels a model gives are meaningless.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from transformers import (
    SegformerConfig,
    SegformerForImageClassification,
    SegformerForSemanticSegmentation,
)

from torch_ref.initialisation import initial_values
from torch_ref.taps import published_keys

# Xie et al., arXiv 2105.15203, table 6 (encoder) and section 3.2 with table 1 (decoder width).
_WIDE = (64, 128, 320, 512)
VARIANTS: dict[str, dict[str, Any]] = {
    "b0": {"hidden_sizes": (32, 64, 160, 256), "depths": (2, 2, 2, 2), "decoder_hidden_size": 256},
    "b1": {"hidden_sizes": _WIDE, "depths": (2, 2, 2, 2), "decoder_hidden_size": 256},
    "b2": {"hidden_sizes": _WIDE, "depths": (3, 4, 6, 3), "decoder_hidden_size": 768},
    "b3": {"hidden_sizes": _WIDE, "depths": (3, 4, 18, 3), "decoder_hidden_size": 768},
    "b4": {"hidden_sizes": _WIDE, "depths": (3, 8, 27, 3), "decoder_hidden_size": 768},
    "b5": {"hidden_sizes": _WIDE, "depths": (3, 6, 40, 3), "decoder_hidden_size": 768},
}

_FILE_NAMES = {"safetensors": "model{suffix}.safetensors", "bin": "pytorch_model{suffix}.bin"}
_WEIGHT_FILES = ("model*.safetensors*", "pytorch_model*.bin*")


def write_seeded_checkpoint(
    folder: str | Path,
    variant: str = "b0",
    *,
    seed: int = 0,
    num_labels: int = 150,
    format: Literal["safetensors", "bin"] = "safetensors",
    max_shard_size: int | str | None = None,
    id2label: Mapping[int, str] | None = None,
    image_size: int | None = None,
    segmentation: bool = True,
    overwrite: bool = False,
    **config_overrides: Any,
) -> Path:
    """Writes a random checkpoint of any variant as the published ones lie on disk.

    The values are the same bits on every machine: NumPy's PCG64, seeded by `seed` and the key.

    Args:
        folder: Where to write; made if missing.
        variant: "b0" to "b5" (paper, table 6).
        seed: A non-negative integer.
        num_labels: Number of classes.
        format: "safetensors" (`model.safetensors`) or "bin" (`pytorch_model.bin`, `torch.save`).
        max_shard_size: Largest file, in bytes or as "50MB"; adds the index JSON. None: one file.
        id2label: Class names for `config.json`; default LABEL_0, LABEL_1, …
        image_size: Side of the square that the image processor resizes to; default 512, 640 for B5.
        segmentation: True for the decode head, False for an image classifier (as `nvidia/mit-b*`).
        overwrite: Replace the weights that `folder` already holds.
        **config_overrides: Any other `SegformerConfig` field, e.g. `num_channels=4`.

    Returns:
        `folder` as a Path.

    Raises:
        ValueError: An unknown variant or format, or class names that do not number `num_labels`.
        FileExistsError: `folder` holds weights and `overwrite` is False.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}; got {variant!r}.")
    if format not in _FILE_NAMES:
        raise ValueError(f"format must be one of {', '.join(_FILE_NAMES)}; got {format!r}.")
    names = dict(id2label) if id2label else {i: f"LABEL_{i}" for i in range(num_labels)}
    if sorted(names) != list(range(num_labels)):
        raise ValueError(f"id2label must name the classes 0 to {num_labels - 1}, one each; got {len(names)}.")
    config = SegformerConfig(
        **{**VARIANTS[variant], **config_overrides},
        id2label=names,
        label2id={name: i for i, name in names.items()},
    )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _clear(folder, overwrite)
    _write_json(folder / "config.json", _published_config(config, segmentation))
    size = image_size or (640 if variant == "b5" else 512)
    _write_json(folder / "preprocessor_config.json", _published_preprocessing(size))
    _write_weights(folder, seeded_state_dict(config, seed, segmentation), format, max_shard_size)
    return folder


def seeded_state_dict(
    config: SegformerConfig, seed: int, segmentation: bool = True
) -> dict[str, torch.Tensor]:
    """The seeded weights of a model of this config, under their published keys."""
    model_class = SegformerForSemanticSegmentation if segmentation else SegformerForImageClassification
    with torch.device("meta"):  # names and shapes only, no memory
        model = model_class(config)
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    keys = published_keys(model)
    return {
        key: torch.from_numpy(initial_values(key, tuple(shapes[old]), config, seed))
        for old, key in keys.items()
    }


def _clear(folder: Path, overwrite: bool) -> None:
    existing = [path for pattern in _WEIGHT_FILES for path in folder.glob(pattern)]
    if existing and not overwrite:
        raise FileExistsError(
            f"{folder} already holds {existing[0].name}. Choose another folder, or pass "
            "overwrite=True (--overwrite) to replace its weights."
        )
    for path in existing:
        path.unlink()


def _published_config(config: SegformerConfig, segmentation: bool) -> dict[str, Any]:
    """`config.json` as the published files have it, with the fields that transformers 5 dropped."""
    task = "SemanticSegmentation" if segmentation else "ImageClassification"
    written = config.to_diff_dict()
    written.pop("dtype", None)
    return {
        **written,
        "architectures": [f"SegformerFor{task}"],
        "downsampling_rates": [1, 4, 8, 16],
        "image_size": 224,
        "torch_dtype": "float32",
    }


def _published_preprocessing(size: int) -> dict[str, Any]:
    """`preprocessor_config.json` as the published files have it, old field names included."""
    return {
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "SegformerFeatureExtractor",
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "reduce_labels": True,
        "resample": 2,
        "size": size,
    }


def _write_weights(
    folder: Path,
    weights: dict[str, torch.Tensor],
    format: str,
    max_shard_size: int | str | None,
) -> None:
    total = sum(tensor.nbytes for tensor in weights.values())
    shards = split_torch_state_dict_into_shards(
        weights,
        filename_pattern=_FILE_NAMES[format],
        max_shard_size=total if max_shard_size is None else max_shard_size,
    )
    for name, keys in shards.filename_to_tensors.items():
        shard = {key: weights[key] for key in keys}
        if format == "safetensors":
            path = folder / name
            path.touch()
            mode = path.stat().st_mode
            save_file(shard, path, metadata={"format": "pt"})
            path.chmod(mode)  # as any new file's; safetensors makes one that only its owner may read
        else:
            torch.save(shard, folder / name)
    if shards.is_sharded:
        index = _FILE_NAMES[format].format(suffix="") + ".index.json"
        _write_json(
            folder / index,
            {"metadata": {"total_size": total}, "weight_map": shards.tensor_to_filename},
        )


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
