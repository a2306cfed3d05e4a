"""The auto classes by which users of transformers reach the models. There is one architecture here."""

import os
from typing import Any, ClassVar

from transformers import SegformerConfig

from tf_segformer.modeling import TFSegformerForImageClassification, TFSegformerForSemanticSegmentation
from tf_segformer.pretrained import TFSegformerPreTrainedModel


class _AutoModel:
    """Picks the model class; made by `from_pretrained` and `from_config` only."""

    _model_class: ClassVar[type[TFSegformerPreTrainedModel]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        name = type(self).__name__
        raise OSError(
            f"{name} is not instantiated itself; expected {name}.from_pretrained(folder_or_hub_id) or "
            f"{name}.from_config(config)."
        )

    @classmethod
    def from_config(cls, config: SegformerConfig, **kwargs: Any) -> TFSegformerPreTrainedModel:
        """A model with new weights.

        Args:
            config: A SegFormer config.
            **kwargs: Arguments of the model class.

        Raises:
            ValueError: `config` is another model's.
        """
        if not isinstance(config, SegformerConfig):
            raise ValueError(
                f"config is a {type(config).__name__}; expected a SegformerConfig, the one architecture of "
                "this package."
            )
        return cls._model_class(config, **kwargs)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike, *model_args: Any, **kwargs: Any
    ) -> TFSegformerPreTrainedModel:
        """Load a checkpoint; arguments and errors are those of the model class's `from_pretrained`."""
        return cls._model_class.from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)


class TFAutoModelForSemanticSegmentation(_AutoModel):
    """Loads or makes a `TFSegformerForSemanticSegmentation`."""

    _model_class = TFSegformerForSemanticSegmentation


class TFAutoModelForImageClassification(_AutoModel):
    """Loads or makes a `TFSegformerForImageClassification`."""

    _model_class = TFSegformerForImageClassification
