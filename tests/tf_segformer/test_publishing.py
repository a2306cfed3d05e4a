"""`push_to_hub`: huggingface_hub's own client against a server on the loopback interface."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.tf_segformer.hub_server import Repository
from tf_segformer import TFSegformerForSemanticSegmentation, TFSegformerImageProcessor
from tf_segformer.publishing import PublishError

SEGMENTATION = Path(__file__).parents[1] / "fixtures" / "segmentation_tiny"
load = TFSegformerForSemanticSegmentation.from_pretrained
# huggingface_hub 2.4 hands its client a file in a way that the client discourages
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<:DeprecationWarning")


@pytest.fixture(scope="module")
def model():
    return load(SEGMENTATION)


def files(server, name, ref="main"):
    repository = server.repositories[name]
    return repository.commits[repository.refs[ref]]


def assert_same_weights(one, other):
    for left, right in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"safe_serialization": True}, {"to_pt": True, "max_shard_size": "60KB"}, {"file_format": "keras"}],
    ids=["h5", "tf safetensors", "pt safetensors sharded", "keras"],
)
def test_what_is_pushed_comes_back(hub, model, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    info = model.push_to_hub("me/new", token="write", commit_message="First", **arguments)
    assert info.oid == hub.repositories["me/new"].refs["main"]
    assert_same_weights(model, load("me/new"))
    assert not list(tmp_path.glob("new*"))  # a temporary folder was used


def test_one_commit_replaces_the_same_format_and_nothing_else(hub, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old = load(SEGMENTATION)
    old.decode_head.classifier.bias.assign_add(np.ones(11))
    old.push_to_hub("me/new", token="write", max_shard_size="60KB")
    repository = hub.repositories["me/new"]
    others = {"README.md": b"mine", "pytorch_model.bin": b"PyTorch's", "preprocessor_config.json": b"{}"}
    repository.commit({**files(hub, "me/new"), **others})
    commits = len(repository.commits)
    model.push_to_hub("me/new", token="write")
    assert len(repository.commits) == commits + 1
    assert set(files(hub, "me/new")) == {".gitattributes", "config.json", "tf_model.h5", *others}
    assert_same_weights(model, load("me/new"))


def test_saving_and_pushing_in_one_call(hub, model, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("not for everyone")
    model.save_pretrained(folder, push_to_hub=True, token="write", safe_serialization=True)
    assert set(files(hub, "me/mine")) == {".gitattributes", "config.json", "model.safetensors"}
    model.save_pretrained(folder, push_to_hub=True, token="write", repo_id="team/other", revision="try")
    assert set(files(hub, "team/other", "try")) >= {"config.json", "tf_model.h5"}
    assert set(files(hub, "team/other")) == {".gitattributes"}


def test_the_working_folder_is_kept_when_asked(hub, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model.push_to_hub("me/new", use_temp_dir=False, token="write")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["config.json", "tf_model.h5"]
    (tmp_path / "second").mkdir()
    model.push_to_hub("me/second", token="write")
    assert (tmp_path / "second" / "tf_model.h5").exists()


def test_a_saved_model_is_pushed_too(hub, model, tmp_path, monkeypatch):
    def write(_, folder, signatures):
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_text(str(signatures))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tf_segformer.saved_models.write_saved_model", write)
    model.push_to_hub("me/new", token="write", saved_model=True, version=4)
    assert "saved_model/4/saved_model.pb" in files(hub, "me/new")


def test_a_push_that_is_refused(hub, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        PublishError, match=r"did not accept the upload to 'me/new' \(40[13]\): the token is missing"
    ):
        model.push_to_hub("me/new", token="read")
    with pytest.raises(
        PublishError, match=r"The upload to 'no such//name' failed: .* The repository is as it was"
    ):
        model.push_to_hub("no such//name", token="write")
    with pytest.raises(TypeError, match=r"push_to_hub\(\) got organisation; expected"):
        model.push_to_hub("me/new", organisation="x")
    assert hub.repositories == {}


def test_the_pushed_config_names_the_class(hub, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hub.repositories["me/new"] = Repository({})
    model.push_to_hub("me/new", token="write")
    fields = json.loads(files(hub, "me/new")["config.json"])
    assert fields["architectures"] == ["SegformerForSemanticSegmentation"]


def test_an_image_processor_goes_beside_the_model(hub, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model.push_to_hub("me/new", token="write")
    processor = TFSegformerImageProcessor(size=96, image_std=0.5)
    info = processor.push_to_hub("me/new", token="write", commit_description="Smaller images")
    assert info.oid == hub.repositories["me/new"].refs["main"]
    assert set(files(hub, "me/new")) >= {"preprocessor_config.json", "config.json", "tf_model.h5"}
    assert TFSegformerImageProcessor.from_pretrained("me/new").to_dict() == processor.to_dict()


def test_an_image_processor_is_saved_and_pushed_in_one_call(hub, tmp_path):
    processor = TFSegformerImageProcessor(do_reduce_labels=True)
    written = processor.save_pretrained(tmp_path / "mine", push_to_hub=True, token="write")
    assert written == [str(tmp_path / "mine" / "preprocessor_config.json")]
    assert TFSegformerImageProcessor.from_pretrained("me/mine").do_reduce_labels
    with pytest.raises(TypeError, match=r"save_pretrained\(\) got tag; expected"):
        processor.save_pretrained(tmp_path / "mine", tag="x")
