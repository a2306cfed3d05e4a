"""The published variants, and the check that a config describes a network this port computes."""

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from transformers import SegformerConfig

from tf_segformer.numerics import ACTIVATIONS

# arXiv 2105.15203, table 6 (encoders) and table 1a; the decoder widths are C = 256 for B0, B1 and 768 above.
VARIANTS: dict[str, dict[str, Any]] = {
    "b0": {"hidden_sizes": [32, 64, 160, 256], "depths": [2, 2, 2, 2], "decoder_hidden_size": 256},
    "b1": {"hidden_sizes": [64, 128, 320, 512], "depths": [2, 2, 2, 2], "decoder_hidden_size": 256},
    "b2": {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 4, 6, 3], "decoder_hidden_size": 768},
    "b3": {
        "hidden_sizes": [64, 128, 320, 512],
        "depths": [3, 4, 18, 3],
        "decoder_hidden_size": 768,
    },
    "b4": {
        "hidden_sizes": [64, 128, 320, 512],
        "depths": [3, 8, 27, 3],
        "decoder_hidden_size": 768,
    },
    "b5": {
        "hidden_sizes": [64, 128, 320, 512],
        "depths": [3, 6, 40, 3],
        "decoder_hidden_size": 768,
    },
}

# Fields of published config files that describe the file, not the network; the reference reads none of them.
_DESCRIPTIVE_FIELDS = {"downsampling_rates", "image_size", "feature_extractor_type", "torch_dtype"}

_PER_STAGE = (
    "depths",
    "hidden_sizes",
    "num_attention_heads",
    "sr_ratios",
    "patch_sizes",
    "strides",
    "mlp_ratios",
)


class ConfigError(ValueError):
    """A config file that cannot be read or does not describe a SegFormer that this port computes."""


def variant_config(variant: str, **overrides: Any) -> SegformerConfig:
    """The config of a published variant.

    Args:
        variant: `"b0"` to `"b5"`.
        **overrides: Further config fields, e.g. `num_labels=150`.

    Raises:
        ConfigError: `variant` is not one of them.
    """
    if variant.lower() not in VARIANTS:
        raise ConfigError(f"Unknown variant {variant!r}; expected one of {', '.join(VARIANTS)}.")
    return SegformerConfig(**{**VARIANTS[variant.lower()], **overrides})


def read_config(path: Path, **overrides: Any) -> SegformerConfig:
    """Read and check a `config.json`.

    Args:
        path: The file.
        **overrides: Fields that replace the file's.

    Raises:
        ConfigError: the file is unreadable, names another architecture, holds a field that could change the
            network but is unknown to the reference, or describes a network that cannot be built.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} is not a readable JSON file ({error}). Fetch the checkpoint's config.json again."
        ) from error
    if not isinstance(fields, dict) or "model_type" not in fields:
        fields = {"model_type": None if isinstance(fields, dict) else type(fields).__name__}
    _refuse_other_architectures(fields, str(path))
    _refuse_unknown_fields(fields, path)
    config = config_from(fields, overrides, source=str(path))
    check_config(config, source=str(path))
    return config


def config_from(
    fields: Mapping[str, Any], overrides: Mapping[str, Any], source: str = "The config"
) -> SegformerConfig:
    """The config of `fields` with `overrides`, and label names that go with the number of labels.

    A new `num_labels` drops the names of another number, and a new `id2label` makes its own `label2id`.

    Raises:
        ConfigError: it is another architecture's, a value is of the wrong kind, or `num_labels` and
            `id2label` are both overridden and disagree.
    """
    _refuse_other_architectures(fields, source)
    fields = dict(fields)
    number, names = overrides.get("num_labels"), overrides.get("id2label")
    if number is not None and names is not None and number != len(names):
        raise ConfigError(
            f"num_labels={number} and an id2label of {len(names)} names disagree; one of the two is enough."
        )
    if number is not None and names is None and number != len(fields.get("id2label") or ()):
        fields.pop("id2label", None)
        fields.pop("label2id", None)
    if names is not None:
        fields["label2id"] = {name: int(index) for index, name in names.items()}
        overrides = {name: value for name, value in overrides.items() if name != "num_labels"}
        fields.pop("num_labels", None)
    try:
        return SegformerConfig.from_dict({**fields, **overrides})
    except Exception as error:  # the strict dataclass raises its own family of errors
        source = f"{source} with {overrides}" if overrides else source
        raise ConfigError(f"{source} is not a valid SegFormer config: {error}") from error


def _refuse_other_architectures(fields: Mapping[str, Any], source: str) -> None:
    found = fields.get("model_type", "segformer")
    if found != "segformer":
        raise ConfigError(
            f"{source} describes a model of type {found!r}; expected 'segformer'. This package reads "
            "SegFormer checkpoints only."
        )


def _refuse_unknown_fields(fields: dict[str, Any], path: Path) -> None:
    """Stop at a field that the reference would silently ignore although it may mean another network."""
    if fields.get("quantization_config") or fields.get("auto_map"):
        named = "quantization_config" if fields.get("quantization_config") else "auto_map"
        raise ConfigError(
            f"{path} has a {named}: its weights are quantised or its code is custom, and this port computes "
            "the plain SegFormer. Use the checkpoint it was made from."
        )
    known = set(SegformerConfig().to_dict()) | set(dir(SegformerConfig)) | _DESCRIPTIVE_FIELDS
    unknown = sorted(
        name
        for name, value in fields.items()
        if name not in known and not name.startswith("_") and not isinstance(value, str | None)
    )
    if unknown:
        listed = ", ".join(f"{name} = {fields[name]!r}" for name in unknown)
        raise ConfigError(
            f"{path} has fields that SegFormer's config does not know and that could change the network: "
            f"{listed}. If they are notes of yours, delete them from the file, or pass "
            "`config=SegformerConfig.from_pretrained(...)` to load without this check."
        )


def config_fields() -> set[str]:
    """The names of a config's fields that a keyword may override."""
    return {*SegformerConfig().to_dict(), "num_labels"} - {"model_type", "transformers_version"}


def number_of_labels(config: SegformerConfig) -> int:
    """The number of classes, which transformers keeps as the length of `id2label`.

    Raises:
        ConfigError: there is none.
    """
    if not config.num_labels or config.num_labels < 1:
        raise ConfigError(
            f"num_labels is {config.num_labels}; expected at least 1. Give the config an `id2label`, or pass "
            "num_labels=…."
        )
    return config.num_labels


def check_config(config: SegformerConfig, source: str = "The config") -> None:
    """Check that the fields fit together and name things this port computes.

    Raises:
        ConfigError: naming the field, what was found and what was expected.
    """
    stages = len(config.depths)
    if config.num_encoder_blocks != stages:
        raise ConfigError(
            f"{source}: num_encoder_blocks is {config.num_encoder_blocks}, but depths has {stages} entries; "
            "they must agree."
        )
    for name in _PER_STAGE:
        values = getattr(config, name)
        if len(values) != stages:
            raise ConfigError(
                f"{source}: {name} has {len(values)} entries, but depths has {stages}; one per stage is "
                "expected."
            )
        if any(value <= 0 for value in values):
            raise ConfigError(f"{source}: {name} = {list(values)}; every entry must be positive.")
    for channels, heads in zip(config.hidden_sizes, config.num_attention_heads, strict=True):
        if channels % heads:
            raise ConfigError(
                f"{source}: {channels} channels cannot be split over {heads} heads (hidden_sizes, "
                "num_attention_heads); the heads must divide the channels."
            )
    if config.hidden_act not in ACTIVATIONS:
        raise ConfigError(
            f"{source}: hidden_act {config.hidden_act!r} is not computed by this port; expected one of "
            f"{', '.join(ACTIVATIONS)}."
        )


def smallest_side(config: SegformerConfig) -> int:
    """The least height and width in pixels that the network takes.

    Below it a stage's feature map is smaller than the kernel of its sequence reduction; the model refuses
    it, as PyTorch does.
    """

    def fits(side: int) -> bool:
        for kernel, stride, reduction in zip(
            config.patch_sizes, config.strides, config.sr_ratios, strict=True
        ):
            side = (side + 2 * (kernel // 2) - kernel) // stride + 1
            if side < max(reduction, 1):
                return False
        return True

    return next(side for side in count(1) if fits(side))
