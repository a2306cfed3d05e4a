"""Exports that compute in bfloat16: what they answer, how they run, and what their manifest says."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from serving.export import export_saved_model, read_processing
from serving.options import ExportOptions
from serving.precision import LowPrecisionModel, PrecisionError, describe_precision, summary
from serving.session_check import ServedModel
from tests.rounding import OBSTACLE, ROUNDINGS, needs_onednn_in_bfloat16
from tests.serving.saved_graphs import constant_bytes, logits_of, numbers_in
from tf_segformer import TFSegformerForSemanticSegmentation
from tf_segformer.scenes import draw_scene

BUNDLED = (
    Path(__file__).parents[2] / "examples" / "segformer-scenes"
)  # trained: random networks amplify noise


@pytest.fixture(scope="module")
def model():
    return TFSegformerForSemanticSegmentation.from_pretrained(BUNDLED, data_format="channels_last")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    steps = []
    options = ExportOptions(precision="bfloat16")
    folder = tmp_path_factory.mktemp("bfloat16") / "scenes"
    path = export_saved_model(BUNDLED, folder, batch_sizes=(1,), options=options, progress=steps.append)
    return SimpleNamespace(path=path, steps=steps)


@pytest.fixture(scope="module")
def answers(exported, model):
    scenes = np.stack([draw_scene(0, index, 128, 160).image for index in range(2)])
    values = scenes.astype(np.float32) / 64 - 2
    with ServedModel(exported.path) as served:
        return served.run("logits", {"pixel_values": values})["logits"], model(values).logits.numpy()


def test_the_logits_are_float32s_but_for_the_rounding(answers):
    found, wanted = answers
    assert found.dtype == np.float32
    assert 1e-5 < np.abs(found - wanted).mean() / np.abs(wanted).mean() < ROUNDINGS * 5e-3


def test_the_manifest_and_the_progress_say_what_it_costs(exported):
    manifest = json.loads((exported.path / "assets.extra" / "manifest.json").read_text())
    assert manifest["options"]["precision"] == "bfloat16"
    measured = manifest["precision"]
    assert measured["images"] == 4
    assert 0 < measured["logit_error"] < 0.02
    assert 0.998 < measured["label_agreement"] <= 1
    assert 0 < measured["miou"] <= 1
    (line,) = (step for step in exported.steps if step.startswith("bfloat16 against float32"))
    assert f"{measured['label_agreement']:.2%}" in line


def test_where_onednn_does_not_round_it_is_said(exported):
    """What was measured then is not what a server with AMX answers."""
    measured = json.loads((exported.path / "assets.extra" / "manifest.json").read_text())["precision"]
    assert measured["obstacle"] == OBSTACLE
    assert summary({**measured, "obstacle": "no AVX-512"}).endswith("AMX answers: no AVX-512")
    assert "AMX" not in summary({**measured, "obstacle": None})


def test_float32_needs_no_such_section(version_dir):
    manifest = json.loads((version_dir / "assets.extra" / "manifest.json").read_text())
    assert manifest["precision"] is None


def test_the_weights_take_half_the_space(exported, model):
    """And are there once: all signatures share them."""
    weights = numbers_in(model.fold_for_inference())
    assert 1 <= constant_bytes(exported.path) / (2 * weights) < 1.1


@needs_onednn_in_bfloat16
def test_products_run_fused_in_bfloat16_on_weights_laid_out_once(exported, model):
    _, nodes = logits_of(exported.path, np.zeros([1, 64, 96, 3], np.float32))
    products = [node for node in nodes if re.fullmatch("(_Mkl(Native)?)?_?FusedMatMul", node.op)]
    in_bfloat16 = [node for node in products if node.attr["T"].type == tf.bfloat16.as_datatype_enum]
    depths, ratios = model.config.depths, model.config.sr_ratios
    reduced = sum(depth for depth, ratio in zip(depths, ratios, strict=True) if ratio > 1)
    assert len(in_bfloat16) == 7 * sum(depths) + reduced + 1
    assert all(node.attr["is_filter_const"].b for node in in_bfloat16)
    casts = [
        node for node in nodes if node.op == "Cast" and node.attr["DstT"].type == tf.float32.as_datatype_enum
    ]
    assert len([cast for cast in casts if cast.attr["SrcT"].type == tf.bfloat16.as_datatype_enum]) == 1
    norms = sum(node.op == "_MklLayerNorm" for node in nodes)
    assert norms == 2 * sum(depths) + 2 * len(depths) + reduced


@pytest.mark.parametrize("wrong", ["shifted", "nan", "nan in the last image"])
def test_a_network_that_is_not_the_models_rounding_is_refused(wrong, model):
    network = LowPrecisionModel(model.fold_for_inference("bfloat16"))

    calls = []

    def spoiled(values, **_):
        calls.append(values)
        logits = network(values).logits
        if wrong == "shifted":
            logits = tf.roll(logits, 1, axis=-1)
        elif wrong == "nan" or len(calls) == 4:
            logits = logits * np.nan
        return SimpleNamespace(logits=logits)

    with pytest.raises(PrecisionError, match="do not fit this precision: export it in float32"):
        describe_precision(model, spoiled, read_processing(BUNDLED), ExportOptions(precision="bfloat16"))


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision is 'int4'; expected one of float32, bfloat16"):
        ExportOptions(precision="int4")
