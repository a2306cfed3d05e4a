"""SegFormer in Keras 3: reads the PyTorch checkpoints, computes the same numbers.

    from tf_segformer import TFSegformerForSemanticSegmentation

    model = TFSegformerForSemanticSegmentation.from_pretrained(
        "nvidia/segformer-b4-finetuned-ade-512-512", from_pt=True
    )

The names are those of the classes that transformers dropped in version 5. Start reading at
`modeling.py`. TensorFlow is imported when the first of them is used (docs/decisions/0012-lazy-names.md).
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from tf_segformer import environment as _environment

if TYPE_CHECKING:
    from transformers import SegformerConfig

    from tf_segformer.auto import TFAutoModelForImageClassification, TFAutoModelForSemanticSegmentation
    from tf_segformer.configuration import VARIANTS, variant_config
    from tf_segformer.image_processor import TFSegformerImageProcessor
    from tf_segformer.modeling import (
        TFSegformerDecodeHead,
        TFSegformerForImageClassification,
        TFSegformerForSemanticSegmentation,
        TFSegformerModel,
        TFSegformerPreTrainedModel,
    )
    from tf_segformer.outputs import (
        TFBaseModelOutput,
        TFSemanticSegmenterOutput,
        TFSequenceClassifierOutput,
    )

    SegformerImageProcessor = SegformerFeatureExtractor = TFSegformerImageProcessor

__all__ = [
    "VARIANTS",
    "SegformerConfig",
    "SegformerFeatureExtractor",
    "SegformerImageProcessor",
    "TFAutoModelForImageClassification",
    "TFAutoModelForSemanticSegmentation",
    "TFBaseModelOutput",
    "TFSegformerDecodeHead",
    "TFSegformerForImageClassification",
    "TFSegformerForSemanticSegmentation",
    "TFSegformerImageProcessor",
    "TFSegformerModel",
    "TFSegformerPreTrainedModel",
    "TFSemanticSegmenterOutput",
    "TFSequenceClassifierOutput",
    "variant_config",
]

_MODULES = {
    "transformers": ("SegformerConfig",),
    "tf_segformer.auto": ("TFAutoModelForImageClassification", "TFAutoModelForSemanticSegmentation"),
    "tf_segformer.configuration": ("VARIANTS", "variant_config"),
    "tf_segformer.image_processor": ("TFSegformerImageProcessor",),
    "tf_segformer.modeling": (
        "TFSegformerDecodeHead",
        "TFSegformerForImageClassification",
        "TFSegformerForSemanticSegmentation",
        "TFSegformerModel",
        "TFSegformerPreTrainedModel",
    ),
    "tf_segformer.outputs": (
        "TFBaseModelOutput",
        "TFSemanticSegmenterOutput",
        "TFSequenceClassifierOutput",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
# The names that one import line of the legacy API also brings in.
_ALIASES = dict.fromkeys(
    ("SegformerImageProcessor", "SegformerFeatureExtractor"), "TFSegformerImageProcessor"
)

_environment.check()
if "keras" in sys.modules or "tensorflow" in sys.modules:
    # Nothing is saved by waiting, and Keras can load .keras files of classes that it has seen.
    _environment.check_backend()
    importlib.import_module("tf_segformer.modeling")


def __getattr__(name: str) -> Any:
    own = _ALIASES.get(name, name)
    if own not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _environment.check_backend()
    value = getattr(importlib.import_module(_MODULE_OF[own]), own)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
