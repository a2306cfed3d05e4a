"""Exports whose weights lie in float16: what is on disk, what loaders make of it, and what is refused."""

import json
import shutil
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from serving import export
from serving.export import export_saved_model
from serving.float16_weights import Float16Weights
from serving.options import ExportOptions
from serving.precision import PrecisionError, allowance
from serving.session_check import ServedModel
from serving.verification import FLOAT32
from tests.serving.old_tensorflow import VERSIONS, compare
from tf_segformer.inference_layers import Weight, numbers_of
from tf_segformer.packed_weights import PackedWeights


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    """A version that was moved after its export, as versions are copied to servers, and its steps.

    It has one signature of seven, for less time; the others call the same network.
    """
    steps = []
    answers = export.expected_answers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "trace_signatures", partial(export.trace_signatures, names=["logits"]))
        patch.setattr(export, "expected_answers", lambda *given: {"logits": answers(*given)["logits"]})
        written = export_saved_model(
            checkpoint,
            tmp_path_factory.mktemp("written") / "tiny",
            batch_sizes=(1,),
            options=ExportOptions(weights="float16"),
            progress=steps.append,
        )
    moved = tmp_path_factory.mktemp("moved") / "1"
    return SimpleNamespace(path=shutil.move(written, moved), steps=steps)


@pytest.fixture(scope="module")
def values():
    return np.random.default_rng(0).standard_normal((2, 64, 96, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def by_hand(keras_model, values):
    """The logits of the folded network with every kernel rounded."""
    network = keras_model.fold_for_inference()
    stacks = {stack.variable.ref() for stack in network.weights.stacks}
    for variable in network.variables:
        if variable.shape.rank - (variable.ref() in stacks) > 1:
            variable.assign(variable.numpy().astype(np.float16))
    return network(tf.constant(values)).logits.numpy()


def in_a_session(path, values):
    with ServedModel(path) as served:
        return served.run("logits", {"pixel_values": values})["logits"]


def in_tensorflow_2(path, values):
    return tf.saved_model.load(path).signatures["logits"](pixel_values=tf.constant(values))["logits"].numpy()


@pytest.mark.parametrize("run", [in_a_session, in_tensorflow_2])
def test_a_loader_gets_the_rounded_weights_and_computes_in_float32(
    run, exported, values, by_hand, keras_model
):
    logits = run(exported.path, values)
    scale = np.abs(by_hand).max()
    assert np.abs(logits - by_hand).max() < 2e-6 * scale
    assert np.abs(logits - keras_model(values).logits.numpy()).max() > 2e-5 * scale


def test_kernels_lie_in_float16_and_the_rest_in_float32(exported, keras_model):
    """Each once."""
    on_disk = tf.train.list_variables(str(exported.path / "variables" / "variables"))
    reader = tf.train.load_checkpoint(str(exported.path / "variables" / "variables"))
    dtypes = reader.get_variable_to_dtype_map()
    found = sorted((tuple(shape), dtypes[name].name) for name, shape in on_disk if dtypes[name] != tf.string)
    network = keras_model.fold_for_inference()
    stacks = {stack.variable.ref() for stack in network.weights.stacks}
    expected = [
        (tuple(variable.shape), variable.shape.rank - (variable.ref() in stacks) > 1)
        for variable in network.variables
    ]
    assert found == sorted((shape, "float16" if matrix else "float32") for shape, matrix in expected)


def test_nothing_is_cast_when_the_network_runs(exported):
    """Only the restore function casts from float16."""
    assert casts_from_float16(exported.path, "restore") > 0
    assert casts_from_float16(exported.path) == casts_from_float16(exported.path, "restore")


def casts_from_float16(path, within=""):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(path)).graph_def
    nodes = [
        (function.signature.name, node) for function in graph.library.function for node in function.node_def
    ]
    nodes += [("", node) for node in graph.node]
    half = tf.float16.as_datatype_enum
    return sum(
        node.op == "Cast" and node.attr["SrcT"].type == half and within in name for name, node in nodes
    )


def test_the_manifest_and_the_progress_say_what_it_costs(exported):
    manifest = json.loads((exported.path / "assets.extra" / "manifest.json").read_text())
    assert manifest["options"]["weights"] == "float16"
    assert manifest["options"]["precision"] == "float32"
    measured = manifest["precision"]
    assert measured["precision"] == "float16 weights"
    assert 1e-6 < measured["logit_error"] < 0.02
    (line,) = (step for step in exported.steps if step.startswith("float16 weights against float32"))
    assert f"{measured['label_agreement']:.2%}" in line


def test_the_check_before_publishing_allows_no_more_than_float32_does(exported):
    """It compares with the rounded network, so that a weight that is restored otherwise is found."""
    manifest = json.loads((exported.path / "assets.extra" / "manifest.json").read_text())
    assert manifest["check"]["compared"]["logits/logits"]
    assert allowance(manifest["precision"]) == FLOAT32


class Network(tf.Module):
    """Some weights without a network."""

    def __init__(self, **values):
        super().__init__(name="network")
        for name, value in values.items():
            setattr(self, name, Weight(np.float32(value), "float32", numbers_of("float32"), name))


@pytest.mark.parametrize("value", [65520.0, -1e9, np.inf, np.nan])
def test_what_float16_does_not_hold_is_refused_by_name(value):
    network = Network(first=[[1.0]], second=[[0.5, value]])
    with pytest.raises(PrecisionError, match=r"weight second holds .*up to 65504.*weights in float32"):
        Float16Weights(network)


def test_kernels_below_the_normal_range_and_biases_stay_in_float32(tmp_path):
    tiny = np.float32([[1.2345678e-5, 3e-8]])
    network = Network(kernel=[[0.1, 1e-7]], bias=[0.1, 1e9], tiny=tiny, zeros=[[0.0]], largest=[[65519.0]])
    network.stored = Float16Weights(network)
    tf.saved_model.save(network, tmp_path)
    loaded = tf.saved_model.load(tmp_path)
    assert loaded.kernel.variable.numpy().tolist() == np.float16([[0.1, 1e-7]]).tolist()
    assert loaded.bias.variable.numpy().tolist() == np.float32([0.1, 1e9]).tolist()
    assert np.array_equal(loaded.tiny.variable, tiny)
    assert loaded.zeros.variable.numpy() == 0
    assert loaded.largest.variable.numpy() == 65504


def test_weights_that_share_a_variable_are_judged_and_named_one_by_one():
    class Packed(Network):
        def __init__(self, **values):
            super().__init__(**values)
            self.weights = PackedWeights(part for part in self.submodules if isinstance(part, Weight))

    network = Packed(a=[[0.1]], b=[[1e-6]], c=[[0.1, 0.2]], d=[[0.3, 0.4]], e=[0.1], f=[0.3])
    Float16Weights(network)
    assert network.a.variable.read_value().numpy() == np.float32(0.1)  # with b, which is too small
    assert network.d.variable.read_value().numpy().tolist() == np.float16([[0.3, 0.4]]).tolist()
    assert network.f.variable.read_value().numpy() == np.float32([0.3])
    with pytest.raises(PrecisionError, match=r"weight second holds 1e\+06"):
        Float16Weights(Packed(first=[[1.0]], second=[[1e6]]))


def test_it_does_not_go_with_bfloat16():
    with pytest.raises(ValueError, match=r"weights is 'float16' and precision 'bfloat16'.*Leave one"):
        ExportOptions(precision="bfloat16", weights="float16")


def test_unknown_weights_are_refused():
    with pytest.raises(ValueError, match="weights is 'int8'; expected one of float32, float16"):
        ExportOptions(weights="int8")


@pytest.mark.old_tensorflow
@pytest.mark.parametrize("version", VERSIONS)
def test_an_older_tensorflow_restores_them(version, exported, values, by_hand, tmp_path):
    inputs, expected = {"logits/pixel_values": values}, {"logits/logits": by_hand}
    compare(version, exported.path, inputs, expected, tmp_path)
