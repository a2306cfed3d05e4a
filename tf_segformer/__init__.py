"""SegFormer in Keras 3: reads the PyTorch checkpoints, computes the same numbers.

    from tf_segformer import TFSegformerForSemanticSegmentation

    model = TFSegformerForSemanticSegmentation.from_pretrained(
        "nvidia/segformer-b4-finetuned-ade-512-512", from_pt=True
    )

The names are those of the classes that transformers dropped in version 5. Start reading at
`modeling.py`.
"""

from tf_segformer import environment as _environment

_environment.check()

from transformers import SegformerConfig  # noqa: E402

from tf_segformer.auto import (  # noqa: E402
    TFAutoModelForImageClassification,
    TFAutoModelForSemanticSegmentation,
)
from tf_segformer.configuration import VARIANTS, variant_config  # noqa: E402
from tf_segformer.image_processor import TFSegformerImageProcessor  # noqa: E402
from tf_segformer.modeling import (  # noqa: E402
    TFSegformerDecodeHead,
    TFSegformerForImageClassification,
    TFSegformerForSemanticSegmentation,
    TFSegformerModel,
    TFSegformerPreTrainedModel,
)
from tf_segformer.outputs import (  # noqa: E402
    TFBaseModelOutput,
    TFSemanticSegmenterOutput,
    TFSequenceClassifierOutput,
)

# The names that one import line of the legacy API also brings in.
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
