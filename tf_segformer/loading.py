"""Builds a model from a checkpoint: `from_pretrained` without its class."""

import difflib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, SegformerConfig

from tf_segformer.checkpoints import CONFIG_FILE, open_checkpoint, open_file
from tf_segformer.configuration import ConfigError, check_config, config_fields, config_from, read_config
from tf_segformer.hub import HUB_ARGUMENTS, Source
from tf_segformer.weight_loading import LoadingInfo, load_weights

# Arguments of the legacy class that change nothing here: downloads resume by themselves, a mirror is set by
# the variable HF_ENDPOINT, and no code is fetched.
WITHOUT_EFFECT = {
    "resume_download",
    "mirror",
    "trust_remote_code",
    "adapter_kwargs",
    "_from_auto",
    "_from_pipeline",
}

_WEIGHTS_SUFFIXES = (".safetensors", ".h5", ".keras", ".bin")


def load_pretrained(
    model_class: type,
    name_or_path: str | os.PathLike,
    *,
    config: SegformerConfig | Mapping[str, Any] | str | os.PathLike | None,
    from_pt: bool | None,
    use_safetensors: bool | None,
    variant: str | None,
    ignore_mismatched_sizes: bool,
    output_loading_info: bool,
    model_arguments: dict[str, Any],
    **kwargs: Any,
) -> Any:
    """Build `model_class` from a checkpoint; see `TFSegformerPreTrainedModel.from_pretrained`."""
    hub_arguments, overrides = _sorted_arguments(kwargs, model_class)
    path = _file(name_or_path)
    source = Source(path.parent if path else name_or_path, **hub_arguments)
    with source.held():
        config = _config(config, source, hub_arguments, overrides)
        opened = (
            open_checkpoint(source, from_pt, use_safetensors, variant) if path is None else open_file(path)
        )
        with opened as checkpoint:
            model = model_class(config, **model_arguments)
            info = load_weights(model, checkpoint, ignore_mismatched_sizes)
    _warn_of_new_weights(info, name_or_path, model_class)
    model.name_or_path = str(name_or_path)
    model.loading_info = info
    return (model, info.as_dict()) if output_loading_info else model


def _sorted_arguments(kwargs: dict[str, Any], model_class: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments for the Hub, and those that override a config field."""
    if "use_auth_token" in kwargs:  # the older name
        token = kwargs.pop("use_auth_token")
        if kwargs.get("token") is not None:
            raise ValueError("token and use_auth_token are both given; they are one thing. Pass token=….")
        kwargs["token"] = token
    hub_arguments = {name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs}
    overrides = {
        name: value
        for name, value in kwargs.items()
        if name not in HUB_ARGUMENTS and name not in WITHOUT_EFFECT
    }
    fields = config_fields()
    for name in overrides:
        if name not in fields:
            close = difflib.get_close_matches(name, [*fields, *HUB_ARGUMENTS], n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise TypeError(
                f"{model_class.__name__}.from_pretrained() got {name}={overrides[name]!r}, which is neither "
                f"an argument of it nor a field of SegformerConfig.{hint}"
            )
    return hub_arguments, overrides


def _file(name_or_path: str | os.PathLike) -> Path | None:
    """The path, if it is one file of weights."""
    path = Path(name_or_path)
    return path if path.is_file() and path.suffix in _WEIGHTS_SUFFIXES else None


def _config(
    given: SegformerConfig | Mapping[str, Any] | str | os.PathLike | None,
    source: Source,
    hub_arguments: dict[str, Any],
    overrides: dict[str, Any],
) -> SegformerConfig:
    """The config: the given one, or the checkpoint's, with the overrides."""
    if given is None:
        beside = f"; expected a folder or Hub repository with {CONFIG_FILE} and weights beside it"
        return read_config(source.require(CONFIG_FILE, beside), **overrides)
    if isinstance(given, str | os.PathLike):
        if Path(given).is_file():
            return read_config(Path(given), **overrides)
        if str(given) != source.name:
            # another repository has its own revisions and folders
            elsewhere = {
                name: value for name, value in hub_arguments.items() if name not in ("revision", "subfolder")
            }
            source = Source(given, **elsewhere)
        return read_config(source.require(CONFIG_FILE), **overrides)
    if isinstance(given, Mapping):
        given = config_from(given, overrides)
        overrides = {}
    if not isinstance(given, SegformerConfig):
        kind = getattr(given, "model_type", "") if isinstance(given, PreTrainedConfig) else ""
        raise ConfigError(
            f"config is a {type(given).__name__}{f' (model_type {kind!r})' if kind else ''}; expected a "
            "SegformerConfig, a dict of one, or the path or Hub id of a config.json."
        )
    if overrides:
        given = config_from(given.to_dict(), overrides)
    check_config(given)
    return given


def _warn_of_new_weights(info: LoadingInfo, name_or_path: str | os.PathLike, model_class: type) -> None:
    """One warning that names every weight the checkpoint did not give."""
    reasons = []
    if info.missing_keys:
        reasons.append(
            f"{name_or_path} holds an encoder without the head of {model_class.__name__}: "
            + ", ".join(info.missing_keys)
        )
    if info.mismatched_keys:
        listed = (f"{key} {shape}, not {expected}" for key, shape, expected in info.mismatched_keys)
        reasons.append(f"{name_or_path} holds weights of other shapes: {', '.join(listed)}")
    if reasons:
        warnings.warn(f"{'; '.join(reasons)}. These weights are new and need training.", stacklevel=4)
