"""`compile`, `fit` and `evaluate` on the model's own loss, as users of the legacy classes know them.

Keras takes a loss of (labels, predictions). The models here compute theirs themselves, from `labels` among
their inputs, because it resizes the logits and leaves out the pixels that carry no label. So the labels are
brought to the model before each step, and its loss is taken from its output afterwards.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from tf_segformer.training_data import tf_dataset

# The names that the legacy `compile` gave to the model's own loss.
_OWN_LOSS = (None, "auto", "auto_with_warning", "passthrough")


class Training(keras.Model):
    """The training methods of every model here."""

    data_format: str
    _uses_own_loss = True

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = "auto_with_warning",
        metrics: Any = None,
        loss_weights: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool | None = None,
        steps_per_execution: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Configure training.

        Args:
            optimizer: As Keras takes it.
            loss: Left out, the model's own loss is used: labels come in a dict, `{"pixel_values": …,
                "labels": …}`, or as `fit`'s `y`. Any other loss is called with the labels and the logits.
            metrics: Each is called with the labels and the logits as the model returns them.
            loss_weights: As Keras takes it.
            weighted_metrics: As Keras takes it.
            run_eagerly: As Keras takes it.
            steps_per_execution: As Keras takes it.
            **kwargs: More of Keras', e.g. `auto_scale_loss`. `jit_compile` is False unless given, as in the
                legacy classes: XLA leaves the check of the labels' range out, and compiles the step again
                for every image size.
        """
        self._uses_own_loss = loss is None or (isinstance(loss, str) and loss in _OWN_LOSS)
        super().compile(
            optimizer=optimizer,
            loss=None if self._uses_own_loss else loss,
            metrics=metrics,
            loss_weights=loss_weights,
            weighted_metrics=weighted_metrics,
            run_eagerly=bool(run_eagerly),
            steps_per_execution=steps_per_execution or 1,
            **{"jit_compile": False, **kwargs},
        )

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Restore the compilation that a `.keras` file holds."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step of `fit` on a batch: `x`, `(x, y)` or `(x, y, sample_weight)`."""
        return super().train_step(self._arranged(data))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step of `evaluate` on a batch."""
        return super().test_step(self._arranged(data))

    def predict_step(self, data: Any) -> Any:
        """One step of `predict`; labels in the batch are left out, since a loss is no prediction."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        if isinstance(x, Mapping):
            x = {name: value for name, value in x.items() if name != "labels"}
        return super().predict_step((x,))

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """The loss that is minimised: the model's own, or the compiled one of labels and logits."""
        if not self._uses_own_loss:
            return super().compute_loss(
                x, _labels(x, y), _field(self, y_pred, "logits"), sample_weight, training=training
            )
        if sample_weight is not None:
            raise ValueError(
                "sample_weight or class_weight was given, which the model's own loss does not take. Give "
                "pixels that shall not count the label config.semantic_loss_ignore_index, or pass a loss to "
                "compile()."
            )
        loss = _field(self, y_pred, "loss")
        # Keras sums over the replicas of a distribution strategy.
        loss /= tf.cast(tf.distribute.get_strategy().num_replicas_in_sync, loss.dtype)
        return tf.add_n([loss, *(tf.cast(tf.reduce_sum(extra), loss.dtype) for extra in self.losses)])

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The compiled metrics' values, of labels and logits."""
        return super().compute_metrics(x, _labels(x, y), _field(self, y_pred, "logits"), sample_weight)

    def prepare_tf_dataset(
        self,
        dataset: Any,
        batch_size: int = 8,
        shuffle: bool = True,
        tokenizer: None = None,
        collate_fn: Callable[..., Mapping[str, Any]] | None = None,
        collate_fn_args: Mapping[str, Any] | None = None,
        drop_remainder: bool | None = None,
        prefetch: bool = True,
    ) -> tf.data.Dataset:
        """Batches for `fit` and `evaluate` out of a dataset of examples.

        Args:
            dataset: A `datasets.Dataset`, or anything else with a length whose items are dicts with
                `pixel_values`, (channels, H, W) floating, and perhaps `labels` (also `label`, `label_ids`).
            batch_size: Examples in a batch.
            shuffle: Draw the examples in a new random order in each epoch.
            tokenizer: Must be None: images need no tokenizer.
            collate_fn: Makes a dict of batched arrays out of a list of examples; default: stacks them.
            collate_fn_args: Keyword arguments of `collate_fn`.
            drop_remainder: Leave out a last, smaller batch; default: as `shuffle`.
            prefetch: Prepare the next batches while the model works.

        Returns:
            A dataset of `(pixel_values, labels)`, or of `pixel_values` where there are no labels. Fields that
            are no arguments of the model are left out.

        Raises:
            TypeError: `dataset` is nothing of the kind.
            ValueError: it is empty, or holds no `pixel_values`.
        """
        return tf_dataset(
            dataset,
            batch_size=batch_size,
            shuffle=shuffle,
            tokenizer=tokenizer,
            collate_fn=collate_fn,
            collate_fn_args=collate_fn_args,
            drop_remainder=shuffle if drop_remainder is None else drop_remainder,
            prefetch=prefetch,
            channel_axis=1 if self.data_format == "channels_first" else 3,
        )

    def _arranged(self, data: Any) -> tuple[Any, Any, Any]:
        """Inputs, labels and weights, the labels also among the inputs where the own loss needs them."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        labels = _labels(x, y)
        if labels is None:
            raise ValueError(
                "The batch holds no labels, so there is no loss. Give fit and evaluate a dict with "
                "'pixel_values' and 'labels', or x and y."
            )
        inputs = dict(x) if isinstance(x, Mapping) else {"pixel_values": x}
        inputs.pop("labels", None)
        if self._uses_own_loss:
            inputs["labels"] = labels
        return inputs, labels, sample_weight


def _labels(x: Any, y: Any) -> Any:
    """The labels: `y`, alone or in a dict, or what the dict of inputs holds."""
    for holder in (y, x):
        if isinstance(holder, Mapping):
            if "labels" in holder:
                return holder["labels"]
        elif holder is y and y is not None:
            return y
    return None


def _field(model: keras.Model, output: Any, name: str) -> Any:
    """The loss or the logits in a model's output."""
    if not hasattr(model, "hf_compute_loss"):
        raise ValueError(
            f"{type(model).__name__} has no head to train. Use TFSegformerForSemanticSegmentation or "
            "TFSegformerForImageClassification, or put a head of your own on it in a functional model."
        )
    if not isinstance(output, tuple):
        return getattr(output, name)
    # config.return_dict is False: the loss, a scalar, comes first where there were labels
    has_loss = output[0].shape.rank == 0
    return output[0] if name == "loss" else output[int(has_loss)]
