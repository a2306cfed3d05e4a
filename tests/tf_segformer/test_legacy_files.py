"""Files written here are read by the legacy classes themselves, and theirs are read here.

Needs `make legacy-environment`, or LEGACY_PYTHON; run by `python -m pytest -m legacy`.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import tf_segformer

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
PYTHON = Path(os.environ.get("LEGACY_PYTHON") or ROOT / ".venvs" / "legacy" / "bin" / "python")
LOGITS_TOLERANCE = 2e-6
SAVES = {
    "h5": {},
    "h5 sharded": {"max_shard_size": "60KB"},
    "safetensors": {"safe_serialization": True},
    "safetensors sharded": {"safe_serialization": True, "max_shard_size": "60KB"},
}
pytestmark = pytest.mark.legacy


@pytest.fixture(
    scope="module",
    params=[
        ("TFSegformerForSemanticSegmentation", "segmentation_tiny"),
        ("TFSegformerForImageClassification", "classification_tiny"),
        ("TFSegformerModel", "segmentation_tiny"),
        # as deep as B4: Keras 2 splits the lists of names, which outgrow an HDF5 attribute
        ("TFSegformerForSemanticSegmentation", "deep"),
    ],
    ids=lambda case: "-".join(case),
)
def checked(request, tmp_path_factory):
    """The model, the folder of the legacy class's saves, and its report on ours."""
    if not PYTHON.exists():
        pytest.fail(f"there is no {PYTHON}; run `make legacy-environment`, or set LEGACY_PYTHON")
    name, fixture = request.param
    folder = tmp_path_factory.mktemp(name)
    source = FIXTURES / fixture / "tf_h5"
    if fixture == "deep":
        source = folder / "deep"
        narrow = {
            "hidden_sizes": [8, 16, 24, 32],
            "num_attention_heads": [1, 2, 3, 4],
            "decoder_hidden_size": 16,
        }
        config = tf_segformer.variant_config("b4", **narrow)
        getattr(tf_segformer, name)(config).save_pretrained(source)
    model = getattr(tf_segformer, name).from_pretrained(source)
    for form, arguments in SAVES.items():
        model.save_pretrained(folder / "ours" / form, **arguments)
    np.save(folder / "pixels.npy", np.random.default_rng(0).normal(size=(2, 3, 64, 96)).astype("float32"))
    arguments = [name, source, folder / "pixels.npy", folder / "theirs"]
    result = subprocess.run(
        [
            PYTHON,
            Path(__file__).with_name("legacy_check.py"),
            *arguments,
            *(folder / "ours" / form for form in SAVES),
        ],
        env={**os.environ, "PYTHONPATH": "", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return model, folder, json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("form", SAVES)
def test_the_legacy_class_reads_ours(checked, form):
    _, folder, report = checked
    found = report[str(folder / "ours" / form)]
    assert found["difference"] == 0
    assert found["missing_keys"] == found["unexpected_keys"] == found["mismatched_keys"] == []
    if form == "h5":
        assert found["load_weights"] == 0


@pytest.mark.parametrize("form", SAVES)
def test_the_legacy_classs_are_read_here(checked, form):
    model, folder, _ = checked
    again, info = type(model).from_pretrained(folder / "theirs" / form, output_loading_info=True)
    assert not any(info.values())
    for left, right in zip(model.weights, again.weights, strict=True):
        assert left.numpy().tobytes() == right.numpy().tobytes(), left.path


@pytest.mark.parametrize("form", SAVES)
def test_the_same_files(checked, form):
    """Names, index and safetensors to the byte; an HDF5 file also holds Keras' version."""
    _, folder, _ = checked
    ours, theirs = folder / "ours" / form, folder / "theirs" / form
    names = sorted(path.name for path in theirs.iterdir())
    assert sorted(path.name for path in ours.iterdir()) == names
    for name in names:
        if name.endswith(".index.json"):
            assert json.loads((ours / name).read_text()) == json.loads((theirs / name).read_text())
        elif name.endswith(".safetensors"):
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()
