"""What the SegFormer models share: encoder, loading, Keras config, and the form of inputs and outputs."""

import os
from collections.abc import Mapping
from typing import Any, Self

import keras
import tensorflow as tf
from transformers import SegformerConfig

from tf_segformer.configuration import check_config
from tf_segformer.layers import Encoder, SegformerLayer


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


class TFSegformerPreTrainedModel(keras.Model):
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
        self.data_format = data_format
        self.segformer = TFSegformerMainLayer(config, dtype=self.dtype_policy)

    def build(self, input_shape=None) -> None:  # noqa: D102
        self.segformer.build()

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *,
        config: SegformerConfig | Mapping[str, Any] | str | os.PathLike | None = None,
        from_pt: bool | None = None,
        use_safetensors: bool | None = None,
        variant: str | None = None,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        dtype: Any = None,
        data_format: str = "channels_first",
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Load a checkpoint from a folder or from the Hugging Face Hub.

        Looked for in this order, each whole before sharded: `model.safetensors` (PyTorch's or TensorFlow's),
        `tf_model.h5`, `model.keras`, `pytorch_model.bin`. Either every weight is loaded or an error is
        raised. An encoder alone (`nvidia/mit-b*`) loads into a model with a head; the head is then new, with
        one warning that names it. See `docs/loading-and-saving.md`.

        Args:
            pretrained_model_name_or_path: A folder that holds `config.json` and weights, one file of weights
                with `config.json` beside it, or a Hub id.
            config: Used instead of the checkpoint's `config.json`: a config, a dict of one, the path of a
                file, a folder or a Hub id. A config object is not checked for unknown fields.
            from_pt: True reads PyTorch weights only, False no pickles; None (default) whatever is there.
            use_safetensors: True reads safetensors only, False anything else.
            variant: Of the weights' file names, e.g. `"fp16"` for `model.fp16.safetensors`.
            ignore_mismatched_sizes: Leave weights new, with a warning, that have another shape in the
                checkpoint, e.g. the classifier after `num_labels=`.
            output_loading_info: Return the model and a dict of lists: `missing_keys` (new), `unexpected_keys`
                (another task's head, left out) and `mismatched_keys` (key, found shape, expected shape).
            dtype: Keras dtype or policy, e.g. `"float64"`. Default: Keras' global policy.
            data_format: See the class.
            name: The Keras model's name.
            **kwargs: For the Hub `revision`, `subfolder`, `token`, `cache_dir`, `local_files_only`,
                `force_download`, `proxies`; anything else overrides a config field, e.g. `num_labels=19`.

        Returns:
            The model; with `output_loading_info` the tuple of the model and that dict.

        Raises:
            CheckpointNotFoundError: the repository, revision or a file is not there or cannot be fetched; a
                CheckpointError and an OSError.
            CheckpointError: files are unreadable or do not fit the model; the message lists missing (-),
                unexpected (+) and misshapen (≠) weights and says what to do.
            ConfigError: the config cannot be used.
            TypeError: a keyword is neither an argument nor a config field.
        """
        from tf_segformer.loading import load_pretrained

        return load_pretrained(
            cls,
            pretrained_model_name_or_path,
            config=config,
            from_pt=from_pt,
            use_safetensors=use_safetensors,
            variant=variant,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            output_loading_info=output_loading_info,
            model_arguments={"dtype": dtype, "data_format": data_format, "name": name},
            **kwargs,
        )

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        saved_model: bool = False,
        version: int = 1,
        push_to_hub: bool = False,
        signatures: Any = None,
        max_shard_size: int | str = "5GB",
        create_pr: bool = False,
        safe_serialization: bool = False,
        token: str | bool | None = None,
        *,
        to_pt: bool = False,
        file_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Write `config.json` and the weights as a folder that `from_pretrained` reads.

        The folder's earlier model is replaced; a crash at any moment leaves the old one or the new one.
        Weights in another format stay if they hold the same values, else their names get `.replaced`
        appended, with a warning. See `docs/loading-and-saving.md`.

        Args:
            save_directory: The folder; made if it does not exist.
            saved_model: Write a SavedModel to `saved_model/VERSION` too: pixel values of any size in, the
                model's outputs out. `python -m serving export` makes one that takes image bytes.
            version: Its number.
            push_to_hub: Upload what was written; `kwargs` are then those of `push_to_hub`, and `repo_id`
                is the folder's name unless given.
            signatures: Of the SavedModel instead of `serving_default`: a `tf.function`, or a dict of them.
            max_shard_size: Larger weights are split; bytes, or a text such as `"200MB"`.
            create_pr: With `push_to_hub`, as a pull request.
            safe_serialization: Write `model.safetensors` in TensorFlow's layout instead of `tf_model.h5`.
            token: For the Hub.
            to_pt: Write the `model.safetensors` of the PyTorch class of the same name.
            file_format: `"h5"` (default), `"safetensors"` or `"keras"`.
            **kwargs: See `push_to_hub`.

        Raises:
            NotADirectoryError: `save_directory` is a file.
            OSError: it cannot be written. What was there is as it was.
            ValueError: arguments contradict each other or name nothing.
        """
        from tf_segformer.publishing import save_and_publish

        save_and_publish(
            self,
            save_directory,
            push_to_hub=push_to_hub,
            saving={
                "saved_model": saved_model,
                "version": version,
                "signatures": signatures,
                "max_shard_size": max_shard_size,
                "safe_serialization": safe_serialization,
                "to_pt": to_pt,
                "file_format": file_format,
            },
            create_pr=create_pr,
            token=token,
            **kwargs,
        )

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """Upload the model to the Hugging Face Hub, in one commit.

        Weights of the same format in the repository are replaced; those in other formats stay.

        Args:
            repo_id: `"owner/name"`, or `"name"` for a repository of one's own; made if it does not exist.
            **kwargs: `commit_message`, `commit_description`, `private`, `token`, `revision` (a branch, made
                if it does not exist), `create_pr`; and of `save_pretrained` `max_shard_size`,
                `safe_serialization`, `to_pt`, `file_format`, `saved_model`, `version`, `signatures`.

        Returns:
            huggingface_hub's `CommitInfo`.

        Raises:
            PublishError: the Hub refused or could not be reached.
        """
        from tf_segformer.publishing import push_to_hub

        return push_to_hub(self, repo_id, **kwargs)

    def num_parameters(self, only_trainable: bool = False) -> int:
        """The number of parameters; batch-norm statistics count as not trainable."""
        weights = self.trainable_weights if only_trainable else self.weights
        return sum(int(weight.shape.num_elements()) for weight in weights)

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
