"""Loading from the Hub: huggingface_hub's own client against a server on the loopback interface."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from tests.tf_segformer.hub_server import Repository
from tf_segformer import TFSegformerForSemanticSegmentation
from tf_segformer.checkpoints import CheckpointError
from tf_segformer.hub import find_file
from tf_segformer.hub_errors import CheckpointNotFoundError

SEGMENTATION = Path(__file__).parents[1] / "fixtures" / "segmentation_tiny"
FORMS = [
    "sharded_safetensors",
    "sharded_bin",
    "tf_h5",
    "tf_h5_sharded",
    "tf_safetensors",
    "renamed_keys_safetensors",
]
load = TFSegformerForSemanticSegmentation.from_pretrained


@pytest.fixture(scope="module")
def expected():
    return load(SEGMENTATION)


@pytest.fixture
def repository(hub):
    files = {name: (SEGMENTATION / name).read_bytes() for name in ("config.json", "model.safetensors")}
    hub.repositories["me/model"] = Repository(files)
    return hub.repositories["me/model"]


def assert_same_weights(one, other):
    for left, right in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(left, right)


def assert_one_paragraph(error, *words):
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 600
    for word in words:
        assert word in message, message


def cached_files(tmp_path):
    folder = tmp_path / "cache"
    return [path for path in folder.rglob("*") if path.is_file() and ".locks" not in path.parts]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_weights(hub, form, expected):
    hub.repositories["me/model"] = Repository(SEGMENTATION / form)
    assert_same_weights(load("me/model"), expected)


@pytest.mark.parametrize("form", ["sharded_bin", "sharded_safetensors"])
def test_from_pt_takes_safetensors_or_bin_sharded_or_not(hub, form, expected):
    hub.repositories["me/model"] = Repository(SEGMENTATION / form)
    assert_same_weights(load("me/model", from_pt=True), expected)
    config = (SEGMENTATION / "config.json").read_bytes()
    whole = {"config.json": config, "pytorch_model.bin": (SEGMENTATION / "pytorch_model.bin").read_bytes()}
    hub.repositories["me/whole"] = Repository(whole)
    assert_same_weights(load("me/whole", from_pt=True), expected)


def test_files_are_fetched_once(hub, repository, expected, tmp_path):
    assert_same_weights(load("me/model"), expected)
    assert sorted(hub.fetched()) == ["config.json", "model.safetensors"]
    hub.requests.clear()
    load("me/model")
    # one look at the branch; all else is known of its commit
    assert hub.requests == [("HEAD", "/me/model/resolve/main/config.json")]
    hub.requests.clear()
    load("me/model", revision=repository.refs["main"])
    assert hub.requests == []
    load("me/model", force_download=True)
    assert sorted(hub.fetched()) == ["config.json", "model.safetensors"]
    hub.requests.clear()
    load("me/model", cache_dir=tmp_path / "another")
    assert sorted(hub.fetched()) == ["config.json", "model.safetensors"]


def test_shards_are_fetched_once(hub):
    hub.repositories["me/model"] = Repository(SEGMENTATION / "sharded_safetensors")
    load("me/model")
    fetched = hub.fetched()
    assert len(fetched) == len(set(fetched)) == 7
    hub.requests.clear()
    load("me/model")
    assert hub.requests == [("HEAD", "/me/model/resolve/main/config.json")]


def test_config_and_weights_are_of_one_commit(hub, repository, expected, monkeypatch):
    """The branch moves on between the first file and the second."""
    old = repository.refs["main"]
    other = {**repository.commits[old], "model.safetensors": b"of another version"}
    from tf_segformer import hub as module

    download = module.hf_hub_download

    def download_and_move_on(name, filename, **arguments):
        path = download(name, filename, **arguments)
        if filename == "config.json":
            repository.commit(other)
        return path

    monkeypatch.setattr(module, "hf_hub_download", download_and_move_on)
    assert_same_weights(load("me/model"), expected)
    assert repository.refs["main"] != old


def test_revisions_subfolders_and_variants(hub, repository, expected):
    files = repository.commits[repository.refs["main"]]
    half = files["model.safetensors"]
    below = {f"small/{name}": data for name, data in files.items()}
    varied = {"config.json": files["config.json"], "model.fp16.safetensors": half}
    sharded = {
        path.name.replace(".index.json", ".index.fp16.json"): path.read_bytes()
        for path in (SEGMENTATION / "sharded_safetensors").iterdir()
    }
    repository.commit(below, "below")
    repository.commit(varied, "varied")
    repository.commit(sharded, "sharded")
    assert_same_weights(load("me/model", revision="below", subfolder="small"), expected)
    assert_same_weights(load("me/model", revision="varied", variant="fp16"), expected)
    assert_same_weights(load("me/model", revision="sharded", variant="fp16"), expected)

    with pytest.raises(CheckpointNotFoundError) as error:
        load("me/model", revision="v9")
    assert_one_paragraph(error, "'me/model' has no revision 'v9'", "a branch, a tag or a commit")
    with pytest.raises(CheckpointNotFoundError) as error:
        load("me/model", subfolder="large")
    assert_one_paragraph(error, "me/model, subfolder 'large'", "holds no config.json")
    with pytest.raises(CheckpointNotFoundError) as error:
        load("me/model", variant="int8")
    assert_one_paragraph(
        error, "holds no weights of the variant 'int8'", "model.int8.safetensors", "It has model.safetensors"
    )


def test_a_repository_that_was_renamed(hub, repository, expected):
    hub.moved["old/name"] = "me/model"
    assert_same_weights(load("old/name"), expected)


def test_a_repository_that_does_not_exist(hub):
    with pytest.raises(CheckpointNotFoundError) as error:
        load("me/nothing")
    assert_one_paragraph(error, "'me/nothing' is neither a folder", "Check the spelling", "hf auth login")
    assert isinstance(error.value, OSError)  # as the legacy class
    assert isinstance(error.value, CheckpointError)


def test_a_gated_repository(hub, repository, expected):
    repository.token = "secret"
    with pytest.raises(CheckpointNotFoundError) as error:
        load("me/model")
    assert_one_paragraph(error, "'me/model' is gated", "accept its terms", "token=")
    with pytest.raises(CheckpointNotFoundError) as error:
        load("me/model", token="wrong")
    assert_one_paragraph(error, "refused the token", "hf auth login")
    assert_same_weights(load("me/model", token="secret"), expected)
    repository.granted = False
    with pytest.raises(CheckpointNotFoundError) as error:
        load("me/model", token="secret", force_download=True)
    assert_one_paragraph(error, "the account of your token may not read it yet")
    with pytest.raises(CheckpointNotFoundError) as error:
        load("me/model", token=True)
    assert_one_paragraph(error, "token=True", "nobody has logged in")
    with pytest.raises(ValueError, match="token and use_auth_token are both given"):
        load("me/model", token="a", use_auth_token="b")


def test_a_connection_cut_in_the_middle_is_resumed(hub, repository, expected, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 500)  # what has been written to the disk is kept
    hub.cut = [1000, 131_000]
    assert_same_weights(load("me/model"), expected)
    assert hub.ranges == [None, "bytes=1000-", "bytes=132000-"]


@pytest.mark.parametrize("file", ["model.safetensors", "model-00003-of-00005.safetensors"])
def test_nothing_half_fetched_is_used(hub, tmp_path, expected, file):
    folder = SEGMENTATION if file == "model.safetensors" else SEGMENTATION / "sharded_safetensors"
    names = ["config.json", file] if folder == SEGMENTATION else [path.name for path in folder.iterdir()]
    hub.repositories["me/model"] = Repository({name: (folder / name).read_bytes() for name in names})
    hub.cut = [5000] + [0] * 20
    with pytest.raises(CheckpointNotFoundError) as error:
        load("me/model")
    assert_one_paragraph(error, "'me/model' failed", "Nothing incomplete is kept", "try again")
    assert not [path for path in cached_files(tmp_path) if path.stat().st_size == 5000]
    assert not list((tmp_path / "cache").rglob("*.incomplete"))
    with pytest.raises(CheckpointNotFoundError, match="the local cache of Hub repositories lacks"):
        load("me/model", local_files_only=True)
    hub.cut = []
    assert_same_weights(load("me/model"), expected)


def offline_by_argument(monkeypatch):
    return {"local_files_only": True}


def offline_by_mode(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return {}


@pytest.mark.parametrize("offline", [offline_by_argument, offline_by_mode])
@pytest.mark.parametrize("form", ["", "tf_h5", "sharded_bin"])
def test_offline_with_and_without_cache(hub, monkeypatch, expected, offline, form):
    names = ["config.json", "model.safetensors"] if not form else None
    folder = SEGMENTATION / form
    paths = [folder / name for name in names] if names else list(folder.iterdir())
    hub.repositories["me/model"] = Repository({path.name: path.read_bytes() for path in paths})
    arguments = offline(monkeypatch)
    with pytest.raises(CheckpointNotFoundError) as error:
        load("me/model", **arguments)
    assert_one_paragraph(
        error,
        "the local cache of Hub repositories lacks its config.json",
        "offline mode is on",
        "Go online once",
    )
    assert hub.requests == []

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    load("me/model")
    hub.requests.clear()
    arguments = offline(monkeypatch)
    assert_same_weights(load("me/model", **arguments), expected)
    # the config from elsewhere: the first file looked for is one that does not exist
    assert_same_weights(load("me/model", config=SEGMENTATION / "config.json", **arguments), expected)
    assert hub.requests == []
    assert find_file("me/model", "config.json", **arguments).is_file()
    with pytest.raises(CheckpointNotFoundError, match="force_download=True asks"):
        load("me/model", force_download=True, **arguments)


def test_the_hub_is_down(hub, repository, expected):
    hub.down = True
    with pytest.raises(CheckpointNotFoundError) as error:
        load("me/model")
    assert_one_paragraph(
        error, "the local cache of Hub repositories lacks its config.json", "the Hub cannot be reached", "503"
    )
    hub.down = False
    load("me/model")
    hub.down = True
    assert_same_weights(load("me/model"), expected)


def test_no_network_at_all(hub, repository, expected, monkeypatch):
    load("me/model")
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:1/{repo_id}/resolve/{revision}/{filename}"
    )
    assert_same_weights(load("me/model"), expected)
    with pytest.raises(CheckpointNotFoundError) as error:
        load("me/other")
    assert_one_paragraph(error, "the Hub cannot be reached", "ConnectError")
    with pytest.raises(CheckpointNotFoundError) as error:
        load("me/model", force_download=True)
    assert_one_paragraph(error, "config.json", "'me/model'", "ConnectError")


def test_an_incomplete_cache_is_not_loaded(hub, monkeypatch):
    hub.repositories["me/model"] = Repository(SEGMENTATION / "sharded_safetensors")
    for name in ("config.json", "model.safetensors.index.json", "model-00001-of-00005.safetensors"):
        find_file("me/model", name)
    with pytest.raises(CheckpointNotFoundError) as error:
        load("me/model", local_files_only=True)
    assert_one_paragraph(error, "lacks its model-0000")


def test_proxies(hub, repository, expected, monkeypatch):
    """The server serves as the proxy: it then sees whole URLs of another host."""
    find_file("me/model", "config.json")  # makes a client that knows no proxy
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://hub.invalid/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    before = dict(os.environ)
    assert_same_weights(load("me/model", proxies={"http": hub.url.removeprefix("http://")}), expected)
    assert dict(os.environ) == before
    assert "model.safetensors" in hub.fetched()
    with pytest.raises(CheckpointNotFoundError, match="cannot be reached"):
        load("me/other")
    with pytest.raises(ValueError, match=r"proxies has the keys \['http://a'\]; expected 'http' and 'https'"):
        load("me/other", proxies={"http://a": "b"})


def test_a_config_of_another_architecture(hub):
    hub.repositories["me/bert"] = Repository({"config.json": json.dumps({"model_type": "bert"}).encode()})
    with pytest.raises(ValueError, match="model of type 'bert'; expected 'segformer'"):
        load("me/bert")


def test_a_config_from_another_repository(hub, repository):
    fields = json.loads(repository.commits[repository.refs["main"]]["config.json"])
    fields["semantic_loss_ignore_index"] = 7
    hub.repositories["me/config"] = Repository({"config.json": json.dumps(fields).encode()})
    revision = repository.refs["main"]
    model = load("me/model", config="me/config", revision=revision)
    assert model.config.semantic_loss_ignore_index == 7


PROGRAM = """
import sys
from tf_segformer import TFSegformerForSemanticSegmentation
model = TFSegformerForSemanticSegmentation.from_pretrained("me/model")
print(model.num_parameters())
"""


def test_a_fresh_process_set_up_by_its_environment(hub, repository, tmp_path):
    """HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE as a user sets them; progress bars are shown."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }

    def run(**more):
        return subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**environment, **more},
            capture_output=True,
            text=True,
            check=False,
        )

    online = run(TQDM_POSITION="-1")  # bars although this is no terminal
    assert online.returncode == 0, online.stderr
    assert "model.safetensors: 100%" in online.stderr
    hub.requests.clear()
    offline = run(HF_HUB_OFFLINE="1")
    assert offline.stdout == online.stdout, offline.stderr
    assert "100%" not in offline.stderr
    assert hub.requests == []
