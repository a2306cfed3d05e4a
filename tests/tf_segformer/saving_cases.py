"""The formats that `save_pretrained` writes, and what the tests of saving share."""

from pathlib import Path

from tf_segformer import (
    TFSegformerForImageClassification,
    TFSegformerForSemanticSegmentation,
    TFSegformerModel,
)

FIXTURES = Path(__file__).parents[1] / "fixtures"
SEGMENTATION = FIXTURES / "segmentation_tiny"
CLASSIFICATION = FIXTURES / "classification_tiny"
LOGITS_TOLERANCE = 2e-6

FORMATS = {
    "h5": {},
    "h5 sharded": {"max_shard_size": "60KB"},
    "tf safetensors": {"safe_serialization": True},
    "tf safetensors sharded": {"safe_serialization": True, "max_shard_size": 60_000},
    "pt safetensors": {"to_pt": True},
    "pt safetensors sharded": {"to_pt": True, "max_shard_size": "60KB"},
    "keras": {"file_format": "keras"},
}
CLASSES = {
    TFSegformerForSemanticSegmentation: SEGMENTATION,
    TFSegformerForImageClassification: CLASSIFICATION,
    TFSegformerModel: SEGMENTATION,
}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def assert_same_weights(one, other):
    paths = [
        [weight.path.removeprefix(f"{model.path}/") for weight in model.weights] for model in (one, other)
    ]
    assert paths[0] == paths[1]
    for left, right in zip(one.weights, other.weights, strict=True):
        assert left.dtype == right.dtype
        assert left.numpy().tobytes() == right.numpy().tobytes(), left.path


def contents(folder):
    """The folder's bytes, without .keras files: they hold the time and numbered names of layers."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".keras"}
