"""What the SegFormer models share: encoder, loading, Keras config, and the form of inputs and outputs."""

from collections.abc import Mapping
from typing import Any, Self

import keras
import tensorflow as tf
from transformers import SegformerConfig

from tf_segformer.configuration import check_config
from tf_segformer.layers import Encoder, SegformerLayer
from tf_segformer.pretrained_methods import PretrainedMethods
from tf_segformer.serving_signature import ServingSignature
from tf_segformer.training import Training


class TFSegformerMainLayer(SegformerLayer):
    """The encoder under the name that its weights carry in every checkpoint, `segformer.encoder`."""

    def __init__(self, config: SegformerConfig, **kwargs) -> None:
        super().__init__(config, name="segformer", **kwargs)
        self.encoder = Encoder(config, dtype=self.dtype_policy)

    def build(self, input_shape=None) -> None:  # noqa: D102
        self.encoder.build()

    def call(self, x: tf.Tensor, training: bool | None = None) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Pixel values (B, H, W, channels) → feature maps (B, H_i, W_i, C_i) and attentions."""
        return self.encoder(x, training=training)


class TFSegformerPreTrainedModel(PretrainedMethods, ServingSignature, Training):
    """What the SegFormer models share: config, data format, loading, and the shape of their outputs.

    Args:
        config: The checkpoint's config, or the dict of one.
        data_format: `"channels_first"` (default, as the legacy classes) or `"channels_last"`, for the pixel
            values, the segmentation logits and the hidden states.
        **kwargs: Keras' own, e.g. `dtype="float64"`, `"mixed_bfloat16"`, `name`.

    Raises:
        ConfigError: the config describes a network that cannot be built.
    """

    config_class = SegformerConfig
    base_model_prefix = "segformer"
    main_input_name = "pixel_values"
    framework = "tf"

    def __init__(
        self,
        config: SegformerConfig | Mapping[str, Any],
        data_format: str = "channels_first",
        **kwargs: Any,
    ) -> None:
        if isinstance(config, Mapping):
            config = SegformerConfig.from_dict(dict(config))
        if not isinstance(config, SegformerConfig):
            raise TypeError(
                f"config is a {type(config).__name__}; expected a transformers.SegformerConfig. "
                f"To load a checkpoint, call {type(self).__name__}.from_pretrained(folder_or_hub_id)."
            )
        if data_format not in ("channels_first", "channels_last"):
            raise ValueError(f"data_format is {data_format!r}; expected 'channels_first' or 'channels_last'.")
        super().__init__(**kwargs)
        check_config(config)
        self.config = config
        self.name_or_path = config.name_or_path
        self.data_format = data_format
        self.segformer = TFSegformerMainLayer(config, dtype=self.dtype_policy)

    def build(self, input_shape=None) -> None:  # noqa: D102
        self.segformer.build()

    def num_parameters(self, only_trainable: bool = False) -> int:
        """The number of parameters; batch-norm statistics count as not trainable."""
        weights = self.trainable_weights if only_trainable else self.weights
        return sum(int(weight.shape.num_elements()) for weight in weights)

    def __call__(self, pixel_values: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Call the model. Keras takes dicts as input, but not the image processor's `BatchFeature`."""
        if isinstance(pixel_values, Mapping):
            pixel_values = dict(pixel_values)
        return super().__call__(pixel_values, *args, **kwargs)

    def get_config(self) -> dict:  # noqa: D102
        return {
            **super().get_config(),
            "config": self.config.to_dict(),
            "data_format": self.data_format,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config: SegformerConfig | dict, **kwargs: Any) -> Self:
        """A fresh model from a `SegformerConfig`, as the legacy class; or from Keras' own config dict."""
        if isinstance(config, SegformerConfig):
            return cls(config, **kwargs)
        config = dict(config)
        if isinstance(config.get("dtype"), Mapping):
            config["dtype"] = keras.saving.deserialize_keras_object(config["dtype"])
        return cls(**config, **kwargs)

    def _inputs(self, pixel_values: Any, labels: Any) -> tuple[tf.Tensor, Any]:
        """Pixel values as (B, H, W, C) in the compute dtype, and the labels, out of a tensor or a dict."""
        if isinstance(pixel_values, Mapping):
            if "pixel_values" not in pixel_values:
                raise ValueError(
                    f"The input dict has the keys {sorted(pixel_values)}; expected 'pixel_values'."
                )
            labels = pixel_values.get("labels") if labels is None else labels
            pixel_values = pixel_values["pixel_values"]
        x = tf.convert_to_tensor(pixel_values)
        axis, order = (1, "batch, channels, height, width")
        if self.data_format == "channels_last":
            axis, order = (3, "batch, height, width, channels")
        expected = self.config.num_channels
        if x.shape.rank != 4 or x.shape[axis] not in (expected, None):
            raise ValueError(
                f"pixel_values has shape {tuple(x.shape)}; expected ({order}) with {expected} channels, as "
                f"data_format={self.data_format!r} says."
            )
        if not x.dtype.is_floating:
            raise ValueError(
                f"pixel_values has dtype {x.dtype.name}; expected floating, normalised pixel values. "
                "Run the image processor on the image first."
            )
        x = tf.cast(x, self.compute_dtype)
        if self.data_format == "channels_first":
            x = tf.transpose(x, (0, 2, 3, 1))  # (B, H, W, C)
        return x, labels

    def _encode(self, x: tf.Tensor, training: bool | None) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        return self.segformer(x, training=training)

    def _outward(self, feature: tf.Tensor) -> tf.Tensor:
        """A feature map (B, H, W, C) in the model's data format."""
        return tf.transpose(feature, (0, 3, 1, 2)) if self.data_format == "channels_first" else feature

    def _hidden_states(self, features: list[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        """The stages' outputs; the last stays (B, N, C) where the config says not to reshape it."""
        states = [self._outward(feature) for feature in features]
        if not self.config.reshape_last_stage:
            states[-1] = keras.ops.reshape(
                features[-1], (tf.shape(features[-1])[0], -1, features[-1].shape[-1])
            )
        return tuple(states)

    def _extras(
        self,
        features: list[tf.Tensor],
        attentions: list[tf.Tensor],
        output_attentions: bool | None,
        output_hidden_states: bool | None,
    ) -> dict[str, tuple[tf.Tensor, ...] | None]:
        """The optional fields; an argument that is None asks the config."""
        config = self.config
        want_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        want_attentions = config.output_attentions if output_attentions is None else output_attentions
        return {
            "hidden_states": self._hidden_states(features) if want_states else None,
            "attentions": tuple(attentions) if want_attentions else None,
        }

    def _returned(self, output: Any, return_dict: bool | None) -> Any:
        wants_dict = self.config.return_dict if return_dict is None else return_dict
        return output if wants_dict else output.to_tuple()
