"""Optimizer and schedule against PyTorch's and the paper's definitions, and the recipe's own checks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from tests.tf_segformer import tiny
from tf_segformer import TFSegformerForSemanticSegmentation
from tf_segformer.trainer.augmentation import Augmentation
from tf_segformer.trainer.initialisation import initialise_convolutions
from tf_segformer.trainer.optimizer import RecipeAdamW, WarmUpPoly
from tf_segformer.trainer.recipe import Recipe, Schedule


@pytest.fixture(scope="module")
def model():
    return TFSegformerForSemanticSegmentation(tiny.config())


def test_only_normalisation_layers_do_not_decay(model):
    optimizer = RecipeAdamW()
    without = {variable.path for variable in model.trainable_variables if not optimizer.decays(variable.path)}
    norms = {
        variable.path
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.LayerNormalization | keras.layers.BatchNormalization)
        for variable in layer.trainable_variables
    }
    assert without == norms and len(norms) > 20
    assert optimizer.decays(
        "segformer/encoder/block.0.0/mlp/dense1/bias"
    )  # the paper's config names norms only


def test_only_the_head_learns_faster(model):
    optimizer = RecipeAdamW()
    factors = {variable.path: optimizer.factor(variable.path) for variable in model.trainable_variables}
    assert set(factors.values()) == {1.0, 10.0}
    for path, factor in factors.items():
        assert (factor == 10.0) == ("/decode_head/" in path), path


def test_steps_are_those_of_torchs_adamw_with_parameter_groups():
    random = np.random.default_rng(0)
    paths = {"encoder": (1.0, 0.05), "decode_head_kernel": (10.0, 0.05), "encoder_layer_norm": (1.0, 0.0)}
    start = {path: random.normal(size=(3, 2)) for path in paths}
    # small gradients: epsilon counts, and where it enters
    gradients = [{path: 1e-7 * random.normal(size=(3, 2)) for path in paths} for _ in range(6)]
    rates = WarmUpPoly(1e-2, steps=6, warm_up=3)

    theirs = {path: torch.nn.Parameter(torch.tensor(value)) for path, value in start.items()}
    groups = [
        {"params": [theirs[path]], "lr": 1e-2, "weight_decay": decay, "factor": factor}
        for path, (factor, decay) in paths.items()
    ]
    adamw = torch.optim.AdamW(groups)
    ours = [keras.Variable(value, dtype="float64", name=path) for path, value in start.items()]
    optimizer = RecipeAdamW(rates, weight_decay=0.05)
    keras_own = [keras.Variable(value, dtype="float64", name=path) for path, value in start.items()]
    plain = keras.optimizers.AdamW(rates, weight_decay=0.05, epsilon=1e-8)
    for step, gradient in enumerate(gradients):
        for group in adamw.param_groups:
            group["lr"] = float(rates(step)) * group["factor"]
        for path, parameter in theirs.items():
            parameter.grad = torch.tensor(gradient[path])
        adamw.step()
        optimizer.apply([tf.constant(value) for value in gradient.values()], ours)
        plain.apply([tf.constant(value) for value in gradient.values()], keras_own)
    moved = abs(theirs["encoder"].detach().numpy() - start["encoder"]).max()
    for variable, parameter in zip(ours, theirs.values(), strict=True):
        np.testing.assert_allclose(variable.numpy(), parameter.detach().numpy(), rtol=0, atol=1e-6 * moved)
    # Keras' AdamW is another one: without its own epsilon this test would see nothing
    assert abs(keras_own[0].numpy() - theirs["encoder"].detach().numpy()).max() > 1e-2 * moved


def test_the_schedule_is_mmsegmentations():
    schedule = WarmUpPoly(6e-5, steps=160_000, warm_up=1500)
    for step, expected in {
        0: 6e-5 * 1e-6,
        750: 6e-5 * (1 - 750 / 160_000) * (1 - 0.5 * (1 - 1e-6)),
        1500: 6e-5 * (1 - 1500 / 160_000),
        80_000: 3e-5,
        159_999: 6e-5 / 160_000,
        160_000: 0.0,
    }.items():
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-5, abs=1e-14)
    assert float(WarmUpPoly(1.0, steps=10, warm_up=0, power=2.0)(5)) == pytest.approx(0.25)


def test_the_optimizer_and_its_schedule_survive_their_config():
    optimizer = RecipeAdamW(
        WarmUpPoly(1e-3, 100, 10), weight_decay=0.02, multipliers={"x": 3.0}, no_decay="y"
    )
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()
    assert (again.factor("ax"), again.decays("ay"), again.decay) == (3.0, False, 0.02)


def test_averaged_weights_are_there_only_within_the_block():
    variable = keras.Variable([0.0], dtype="float64")
    optimizer = RecipeAdamW(0.1, weight_decay=0.0, use_ema=True, ema_momentum=0.5)
    seen = []
    for _ in range(4):
        optimizer.apply([tf.constant([1.0], tf.float64)], [variable])
        seen.append(float(variable.numpy()[0]))
    with optimizer.averaged([variable]):
        average = float(variable.numpy()[0])
    expected = seen[0]
    for value in seen[1:]:
        expected = 0.5 * expected + 0.5 * value
    assert average == pytest.approx(expected)
    assert float(variable.numpy()[0]) == seen[-1]


def test_convolutions_begin_with_the_deviation_of_their_fan_out(model):
    before = model.decode_head.classifier.kernel.numpy()
    initialise_convolutions(model, seed=0)
    embed = model.segformer.encoder.patch_embeddings[0].proj.kernel.numpy()  # 7 × 7, 4 filters
    assert embed.std() == pytest.approx(np.sqrt(2 / (49 * 4)), rel=0.1)
    depthwise = model.segformer.encoder.blocks[3][0].mlp.dwconv.dwconv.kernel.numpy()
    assert depthwise.std() == pytest.approx(np.sqrt(2 / 9), rel=0.1)
    np.testing.assert_array_equal(model.decode_head.classifier.kernel.numpy(), before)


def test_a_recipe_survives_json():
    recipe = Recipe(steps=2000, augmentation=Augmentation(crop=64, scales=(0.7, 1.5)), ema=0.9)
    assert Recipe.from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps is 0; expected at least 1"),
        ({"steps": 100}, "warm_up is 1500 steps; expected at most all 100"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"drop_path": 1.0}, "expected both below 1"),
        ({"seed": -1}, "seed is -1"),
        ({"augmentation": Augmentation(scales=(2.0, 0.5))}, "the smaller first"),
        ({"augmentation": Augmentation(crop=16)}, "crop is 16; expected at least 32"),
    ],
)
def test_a_recipe_that_cannot_be_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**changes)


def test_a_schedule_of_no_steps_is_named():
    with pytest.raises(ValueError, match="save_every is 0"):
        Schedule(save_every=0)
