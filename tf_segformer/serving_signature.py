"""What a SavedModel of a model takes and returns, under the names of the legacy classes."""

from typing import Any

import keras
import tensorflow as tf
from transformers import SegformerConfig
from transformers.utils import ModelOutput

# The legacy classes built themselves on images of this size.
_DUMMY_SIDE = 512


class ServingSignature(keras.Model):
    """`serving` and what belongs to it, of every model here."""

    config: SegformerConfig
    data_format: str

    @property
    def input_signature(self) -> dict[str, tf.TensorSpec]:
        """The inputs of `serving`: `pixel_values`, float32, of any batch size, height and width."""
        channels = self.config.num_channels
        last = self.data_format == "channels_last"
        shape = (None, None, None, channels) if last else (None, channels, None, None)
        return {"pixel_values": tf.TensorSpec(shape, tf.float32, name="pixel_values")}

    @property
    def dummy_inputs(self) -> dict[str, tf.Tensor]:
        """Inputs that the model runs on: one image of 512 × 512 ones."""
        ((name, spec),) = self.input_signature.items()
        sides = [size or _DUMMY_SIDE for size in spec.shape[1:]]
        return {name: tf.ones((1, *sides), spec.dtype)}

    @property
    def serving(self) -> Any:
        """A `tf.function` of a dict with `pixel_values`, for `tf.saved_model.save(…, signatures=…)`."""
        if getattr(self, "_serving", None) is None:
            self._serving = tf.function(self.eager_serving, input_signature=[self.input_signature])
        return self._serving

    def eager_serving(self, inputs: tf.Tensor | dict[str, tf.Tensor]) -> Any:
        """What `serving` computes: the model in inference mode, then `serving_output`."""
        return self.serving_output(self(inputs, return_dict=True, training=False))

    def serving_output(self, output: Any) -> Any:
        """A model's output as a SavedModel can return it.

        Hidden states and attentions stay only where the config asks for them. As each output of a signature
        is one tensor, they are numbered then: `hidden_states_0`, `attentions_0`, and so on.

        Args:
            output: A model's output; anything else than a `ModelOutput` is returned as it is.

        Returns:
            The output, or a dict if it holds hidden states or attentions.
        """
        if not isinstance(output, ModelOutput):
            return output
        wanted = {
            "hidden_states": self.config.output_hidden_states,
            "attentions": self.config.output_attentions,
        }
        kept = {name: value for name, value in output.items() if wanted.get(name, True)}
        if not any(isinstance(value, tuple) for value in kept.values()):
            return type(output)(**kept)
        named: dict[str, tf.Tensor] = {}
        for name, value in kept.items():
            if isinstance(value, tuple):
                named |= {f"{name}_{index}": each for index, each in enumerate(value)}
            else:
                named[name] = value
        return named
