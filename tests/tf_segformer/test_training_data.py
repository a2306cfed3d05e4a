"""prepare_tf_dataset: batches out of a dataset of examples."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tf_segformer import tiny
from tf_segformer import TFSegformerForImageClassification, TFSegformerForSemanticSegmentation

PIXELS, LABELS = tiny.batch()
EXAMPLES = [
    {"pixel_values": x, "labels": y, "file": f"{index}.png"}
    for index, (x, y) in enumerate(zip(PIXELS, LABELS, strict=True))
]


@pytest.fixture(scope="module")
def model():
    return TFSegformerForSemanticSegmentation(tiny.config())


class HubDataset:
    """Reads like `datasets.Dataset`: Python lists, several rows at once by `__getitems__`."""

    def __init__(self, examples):
        self.examples, self.requests = examples, []

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, index):
        example = self.examples[index]
        return {
            name: getattr(value, "tolist", lambda value=value: value)() for name, value in example.items()
        }

    def __getitems__(self, indices):
        self.requests.append(indices)
        return [self[index] for index in indices]


@pytest.mark.parametrize("dataset", [EXAMPLES, HubDataset(EXAMPLES)], ids=["list", "datasets"])
def test_batches_hold_what_the_model_takes(model, dataset):
    batches = model.prepare_tf_dataset(dataset, batch_size=3, shuffle=False)
    x, y = batches.element_spec
    assert (x.dtype, y.dtype) == (tf.float32, tf.int64)
    assert x.shape.as_list() == [None, 3, None, None]
    assert y.shape.as_list() == [None, None, None]
    assert len(batches) == 2
    first, second = batches
    np.testing.assert_array_equal(first[0], PIXELS[:3])
    np.testing.assert_array_equal(second[1], LABELS[3:])


def test_it_goes_into_fit(model):
    model.compile("sgd", run_eagerly=True)
    batches = model.prepare_tf_dataset(EXAMPLES, batch_size=2)
    history = model.fit(batches, shuffle=False, verbose=0).history  # Keras warns of shuffle with tf.data
    assert np.isfinite(history["loss"]).all()


def test_shuffled_batches_are_whole_and_in_a_new_order_each_time(model):
    examples = [
        {"pixel_values": np.full((3, 2, 2), index, "float32"), "labels": index} for index in range(50)
    ]
    batches = model.prepare_tf_dataset(examples, batch_size=8)
    epochs = [[y.numpy() for _, y in batches] for _ in range(2)]
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [8] * 6  # two are left over
        seen = np.concatenate(epoch)
        assert len(set(seen.tolist())) == 48
    assert np.any(np.concatenate(epochs[0]) != np.concatenate(epochs[1]))
    everything = model.prepare_tf_dataset(examples, batch_size=8, drop_remainder=False)
    assert sum(len(y) for _, y in everything) == 50


def test_examples_without_labels_give_pixels_alone(model):
    batches = model.prepare_tf_dataset(
        [{"pixel_values": x} for x in PIXELS], batch_size=4, shuffle=False, prefetch=False
    )
    np.testing.assert_array_equal(next(iter(batches)), PIXELS)
    assert model.predict(batches, verbose=0).logits.shape == (4, 5, 8, 8)


def test_label_is_another_name_of_labels():
    classifier = TFSegformerForImageClassification(tiny.config())
    examples = [{"pixel_values": x, "label": index} for index, x in enumerate(PIXELS)]
    ((_, y),) = classifier.prepare_tf_dataset(examples, shuffle=False)
    assert y.numpy().tolist() == [0, 1, 2, 3]


def test_a_collate_fn_may_pad_images_of_different_sizes(model):
    examples = [
        {"pixel_values": np.ones((3, size, 32), "float32"), "labels": np.ones((size, 32), "int64")}
        for size in (32, 40, 36)
    ]
    with pytest.raises(ValueError, match="different shapes"):
        model.prepare_tf_dataset(examples)

    def pad(some, height):
        rows = [height - example["labels"].shape[0] for example in some]
        return {
            "pixel_values": np.stack(
                [
                    np.pad(each["pixel_values"], ((0, 0), (0, row), (0, 0)))
                    for each, row in zip(some, rows, strict=True)
                ]
            ),
            "labels": np.stack(
                [
                    np.pad(each["labels"], ((0, row), (0, 0)), constant_values=255)
                    for each, row in zip(some, rows, strict=True)
                ]
            ),
        }

    ((x, y),) = model.prepare_tf_dataset(
        examples, shuffle=False, collate_fn=pad, collate_fn_args={"height": 48}
    )
    assert x.shape == (3, 3, 48, 32)
    assert np.isfinite(model(x, labels=y).loss)


@pytest.mark.parametrize(
    ("dataset", "arguments", "error", "message"),
    [
        ([], {}, ValueError, "dataset is empty"),
        ([{"image": 1}], {}, ValueError, r"fields \['image'\]; expected 'pixel_values'"),
        ({"pixel_values": PIXELS}, {}, TypeError, "dataset is a dict; expected a datasets.Dataset"),
        (tf.data.Dataset.range(3), {}, TypeError, "pass it to fit"),
        (EXAMPLES, {"tokenizer": object()}, ValueError, "images have no tokens"),
        (EXAMPLES, {"collate_fn": lambda some: {"x": 1}}, ValueError, r"fields \['x'\]"),
    ],
)
def test_bad_datasets_are_named(model, dataset, arguments, error, message):
    with pytest.raises(error, match=message):
        model.prepare_tf_dataset(dataset, **arguments)
