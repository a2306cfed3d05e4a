"""The reference model: transformers' PyTorch SegFormer with eager attention, in float32 or float64.

float32 is exactly what a user runs: `from_pretrained(…, attn_implementation="eager")`, untouched.
float64 is the same model with one change. transformers' eager attention computes its softmax in
float32 whatever the model's type, which costs a float64 run half its digits, so the float64 model
uses an attention function whose softmax stays in the input's type.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import (
    AttentionInterface,
    SegformerConfig,
    SegformerForImageClassification,
    SegformerForSemanticSegmentation,
    SegformerImageProcessorPil,
)

from torch_ref import pipeline
from torch_ref.errors import CheckpointError
from torch_ref.taps import record_taps

_FLOAT64_ATTENTION = "torch_ref_float64"
_DTYPES = {"float32": torch.float32, "float64": torch.float64}
_ATTENTION = {"float32": "eager", "float64": _FLOAT64_ATTENTION}
_ARCHITECTURES = {
    "SegformerForSemanticSegmentation": SegformerForSemanticSegmentation,
    "SegformerForImageClassification": SegformerForImageClassification,
}


def attention_in_input_dtype(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Softmax attention (paper, section 3.1, equation 1) that never leaves the input's type.

    Args:
        module: The attention layer; not used.
        query: (B, heads, Nq, C/heads).
        key: (B, heads, Nkv, C/heads).
        value: (B, heads, Nkv, C/heads).
        attention_mask: Must be None: SegFormer has no mask.
        scaling: Factor of the scores, (C/heads)**-0.5.
        **kwargs: What transformers passes to every attention function; dropout does not apply,
            because the reference only ever runs in evaluation mode.

    Returns:
        The context (B, Nq, heads, C/heads) and the probabilities (B, heads, Nq, Nkv).
    """
    if attention_mask is not None:
        raise ValueError("SegFormer attends without a mask, but one was given.")
    scores = query @ key.transpose(-2, -1) * scaling  # (B, heads, Nq, Nkv)
    probabilities = scores.softmax(dim=-1)
    context = (probabilities @ value).transpose(1, 2)  # (B, Nq, heads, C/heads)
    return context.contiguous(), probabilities


AttentionInterface.register(_FLOAT64_ATTENTION, attention_in_input_dtype)


@dataclass(frozen=True)
class ReferenceOutputs:
    """What one forward pass gave, as NumPy arrays of the reference's dtype.

    Attributes:
        logits: (B, K, ⌈H/4⌉, ⌈W/4⌉); (B, K) of an image classifier.
        hidden_states: One (B, C, H, W) per stage.
        attentions: One (B, heads, Nq, Nkv) per block; empty if not asked for.
        taps: Every named intermediate, channels last; empty if not asked for.
    """

    logits: np.ndarray
    hidden_states: tuple[np.ndarray, ...] = ()
    attentions: tuple[np.ndarray, ...] = ()
    taps: dict[str, np.ndarray] = field(default_factory=dict)


class Reference:
    """A SegFormer checkpoint behind transformers' PyTorch classes, on the CPU, in evaluation mode.

    Attributes:
        model: The transformers model.
        folder: The folder or hub id it came from.
        dtype: "float32" or "float64".
    """

    def __init__(self, model: nn.Module, folder: str, dtype: str) -> None:
        self.model = model.eval()
        self.folder = folder
        self.dtype = dtype
        self._processor: SegformerImageProcessorPil | None = None

    @classmethod
    def from_pretrained(cls, folder: str | Path, dtype: str = "float32") -> "Reference":
        """Loads a checkpoint in any PyTorch form: `.bin` or safetensors, whole or sharded.

        Args:
            folder: A checkpoint folder or a hub id. `config.json`'s `architectures` decides between
                segmentation and image classification.
            dtype: "float32", or "float64" for a reference exact to about 1e-14.

        Raises:
            CheckpointError: The folder is missing, the files are damaged or foreign, or a weight is
                missing, unexpected or misshapen. transformers itself would only warn of a missing
                weight and make one up.
        """
        if dtype not in _DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}; got {dtype!r}.")
        name = str(folder)
        if not Path(name).is_dir() and not _may_be_hub_id(name):
            raise CheckpointError(
                f"No checkpoint folder at {name!r}. Give a folder that holds config.json and the "
                "weights, or a hub id such as 'nvidia/segformer-b0-finetuned-ade-512-512'."
            )
        model_class = _model_class(name)
        try:
            model, report = model_class.from_pretrained(
                name,
                dtype=_DTYPES[dtype],
                attn_implementation=_ATTENTION[dtype],
                weights_only=True,
                output_loading_info=True,
            )
        except Exception as error:  # the files are untrusted; their readers raise many types
            raise CheckpointError(
                f"Cannot load the weights of {name!r}: {_one_line(error)}. The file is damaged, "
                "incomplete or not this model's: fetch the checkpoint again, and check that "
                "config.json belongs to it."
            ) from error
        _require_complete(report, name)
        return cls(model, name, dtype)

    @property
    def config(self) -> SegformerConfig:
        """The checkpoint's config."""
        return self.model.config  # type: ignore[return-value]

    @property
    def processor(self) -> SegformerImageProcessorPil:
        """The checkpoint's image processor, pinned to Pillow; read when first needed."""
        if self._processor is None:
            self._processor = pipeline.load_processor(self.folder)
        return self._processor

    def preprocess(self, image: pipeline.ImageSource, size: tuple[int, int] | None = None) -> np.ndarray:
        """Pixel values of an image (path, bytes or Pillow image): float32 (1, 3, H, W).

        `size` (height, width) replaces the size that the checkpoint's processor resizes to.
        """
        return pipeline.preprocess(image, self.processor, size)

    def forward(
        self,
        pixel_values: np.ndarray,
        with_taps: bool = False,
        with_attentions: bool = True,
        tap_sink: Callable[[str, np.ndarray], None] | None = None,
    ) -> ReferenceOutputs:
        """Runs the model.

        Args:
            pixel_values: (B, C, H, W), any float type; converted to the reference's dtype.
            with_taps: Also record every named intermediate. At 512x512 in float32 that is about
                0.6 GB for B0 and 3 GB for B4.
            with_attentions: Also return every block's attention probabilities.
            tap_sink: Takes each tap's name and array as soon as it is computed, so that they need not
                all be in memory; `taps` of the outputs then stays empty.
        """
        if pixel_values.ndim != 4 or pixel_values.shape[1] != self.config.num_channels:
            raise ValueError(
                f"pixel_values must be (B, {self.config.num_channels}, H, W), channels first; got "
                f"shape {pixel_values.shape}."
            )
        pixels = torch.tensor(pixel_values, dtype=_DTYPES[self.dtype])
        taps: dict[str, np.ndarray] = {}
        with torch.inference_mode():
            options = {"output_hidden_states": True, "output_attentions": with_attentions}
            if with_taps or tap_sink is not None:
                with record_taps(self.model, tap_sink) as taps:
                    outputs = self.model(pixels, **options)
            else:
                outputs = self.model(pixels, **options)
        return ReferenceOutputs(
            logits=outputs.logits.numpy(),
            hidden_states=tuple(state.numpy() for state in outputs.hidden_states),
            attentions=tuple(each.numpy() for each in outputs.attentions or ()),
            taps=taps,
        )

    def label_map(self, logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Label map of one image's logits (1, K, h, w) at `size` (height, width): int64."""
        return pipeline.label_map(logits, size)

    def segment(self, image: pipeline.ImageSource) -> np.ndarray:
        """Label map of an image at its own size: int64 (height, width)."""
        decoded = pipeline.decode_image(image)
        outputs = self.forward(self.preprocess(decoded), with_attentions=False)
        return self.label_map(outputs.logits, (decoded.height, decoded.width))


def _may_be_hub_id(name: str) -> bool:
    """True for `owner/name`; everything else is meant as a path."""
    parts = name.split("/")
    return len(parts) == 2 and all(parts) and not name.startswith((".", "~"))


def _model_class(name: str) -> type[Any]:
    try:
        written, _ = SegformerConfig.get_config_dict(name)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"Cannot read config.json of {name!r}: {_one_line(error)}. A checkpoint needs it "
            "beside the weights."
        ) from error
    if written.get("model_type") != "segformer":
        raise CheckpointError(
            f"{name!r} is not a SegFormer: config.json says model_type="
            f"{written.get('model_type')!r}, expected 'segformer'."
        )
    architectures = written.get("architectures") or ["SegformerForSemanticSegmentation"]
    if architectures[0] not in _ARCHITECTURES:
        raise CheckpointError(
            f"{name!r} holds a {architectures[0]}; the reference runs {' and '.join(_ARCHITECTURES)}."
        )
    return _ARCHITECTURES[architectures[0]]


def _require_complete(report: dict[str, Any], name: str) -> None:
    """Refuses what transformers only warns of: weights made up or left unused."""
    lines = [f" - {key} (missing)" for key in sorted(report["missing_keys"])]
    lines += [f" + {key} (unexpected)" for key in sorted(report["unexpected_keys"])]
    lines += [f" ~ {key} (misshapen)" for key in sorted(map(str, report["mismatched_keys"]))]
    if lines:
        raise CheckpointError(
            f"The weights of {name!r} do not fit its config.json; {len(lines)} differ:\n"
            + "\n".join(lines[:20])
            + ("\n …" if len(lines) > 20 else "")
            + "\nUse the config.json and weights of one and the same checkpoint."
        )


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:400]}"
