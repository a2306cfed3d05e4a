"""`.keras` files: Keras loads them, and damaged or foreign ones are refused here."""

import io
import json
import zipfile

import h5py
import keras
import pytest

from tests.tf_segformer.saving_cases import (
    SEGMENTATION,
    assert_same_weights,
)
from tf_segformer import (
    TFSegformerForSemanticSegmentation,
)
from tf_segformer.checkpoints import CheckpointError


@pytest.fixture(scope="module")
def model():
    return TFSegformerForSemanticSegmentation.from_pretrained(SEGMENTATION)


def test_a_keras_file_loads_by_keras_too(tmp_path, model):
    model.save_pretrained(tmp_path, file_format="keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert_same_weights(model, again)


def rewrite(path, **changes):
    """Change members of a zip file by functions of their bytes."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name, change in changes.items():
        name = {"config": "config.json", "weights": "model.weights.h5"}[name]
        members[name] = change(members[name])
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_a_keras_file_without_some_of_its_weights(tmp_path, model):
    """Keras only warns then, and leaves the layers as they were made."""

    def without_a_stage(data):
        buffer = io.BytesIO(data)
        with h5py.File(buffer, "r+") as file:
            names = []
            file.visit(names.append)
            del file[next(name for name in names if name.rpartition("/")[2].startswith("container"))]
        return buffer.getvalue()

    model.save_pretrained(tmp_path, file_format="keras")
    rewrite(tmp_path / "model.keras", weights=without_a_stage)
    with pytest.raises(CheckpointError, match=r"not a readable \.keras file .* UserWarning"):
        TFSegformerForSemanticSegmentation.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda fields: fields.update(registered_name="builtins>eval"),
            "class 'builtins>eval'; expected one",
        ),
        (lambda fields: fields["config"].pop("config"), "is not a readable .keras file"),
        (lambda fields: fields.clear(), "is not a readable .keras file"),
        (lambda fields: fields["config"]["config"].update(hidden_sizes=[8, 16, 24, 64]), "not a readable"),
    ],
)
def test_keras_files_of_others_are_refused(tmp_path, model, change, message):
    model.save_pretrained(tmp_path, file_format="keras")

    def changed(data):
        fields = json.loads(data)
        change(fields)
        return json.dumps(fields).encode()

    rewrite(tmp_path / "model.keras", config=changed)
    with pytest.raises(CheckpointError, match=message):
        TFSegformerForSemanticSegmentation.from_pretrained(tmp_path)
    (tmp_path / "model.keras").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(CheckpointError, match=r"not a readable \.keras file"):
        TFSegformerForSemanticSegmentation.from_pretrained(tmp_path)
