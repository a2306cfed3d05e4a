"""`parity published` against a Hub on the loopback interface, and its list."""

import json
from importlib import resources
from pathlib import Path

import pytest

from parity.cli import app
from parity.planting import tanh_gelu
from parity.published import ListError, Published, chosen, list_text, read_list
from tests.parity.schema_check import violations
from tests.tf_segformer.hub_server import Repository

FIXTURES = Path(__file__).parents[1] / "fixtures"
FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
SCHEMA = json.loads(resources.files("parity").joinpath("published.schema.json").read_text())
OPTIONS = ["--size", "64", "--in-process", "--dtype", "float64"]


def files_of(name):
    # The classifier's fixture has no preprocessing of its own.
    folders = {"preprocessor_config.json": "segmentation_tiny"}
    return {file: (FIXTURES / folders.get(file, name) / file).read_bytes() for file in FILES}


@pytest.fixture
def listed(hub, tmp_path):
    """A list of a segmentation model, a classifier, and one that is not there."""
    hub.repositories["me/segmenter"] = Repository(files_of("segmentation_tiny"))
    hub.repositories["me/classifier"] = Repository(files_of("classification_tiny"))
    path = tmp_path / "list.json"
    names = ("me/segmenter", "me/classifier", "me/missing")
    path.write_text(list_text([Published(name, None) for name in names]))
    return path


def run(tmp_path, listed, *more):
    report = tmp_path / "out" / "published.json"
    code = app(["published", "--list", str(listed), "--report", str(report), *OPTIONS, *more])
    content = json.loads(report.read_text()) if report.exists() else None
    if content is not None:
        assert violations(content, SCHEMA) == []
    return code, content


def test_a_run_is_compared_reported_resumed_and_pinned(hub, listed, tmp_path, capsys):
    pins, junit = tmp_path / "pinned.json", tmp_path / "out.xml"
    code, report = run(tmp_path, listed, "--pin", str(pins), "--junit", str(junit))
    assert code == 3  # one could not be compared
    verdicts = {each["id"]: each["verdict"] for each in report["checkpoints"]}
    assert verdicts == {"me/segmenter": "equal", "me/classifier": "equal", "me/missing": "error"}
    commits = {name: hub.repositories[name].refs["main"] for name in ("me/segmenter", "me/classifier")}
    assert {e["id"]: e["revision"] for e in report["checkpoints"][:2]} == commits
    assert report["checkpoints"][0]["logits_float64"] < 1e-12
    said = capsys.readouterr().out
    assert "| me/segmenter |" in said and "3 of 3 are not pinned" in said
    assert junit.read_text().count("<failure") == 1
    pinned = read_list(pins)
    assert [each.revision for each in pinned] == [*commits.values(), None]

    # Again: what has a verdict is not run again, what has none is.
    hub.requests.clear()
    code, again = run(tmp_path, listed)
    assert code == 3
    assert [each["id"] for each in again["checkpoints"]] == [each["id"] for each in report["checkpoints"]]
    assert not any("segmenter" in path or "classifier" in path for _, path in hub.requests)
    assert any("missing" in path for _, path in hub.requests)

    # With other settings the report is not gone on from.
    code, _ = run(tmp_path, listed, "--levels", "logits")
    assert code == 2
    assert "made with other levels" in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_pinned_commit_is_read_though_a_newer_one_is_there(hub, tmp_path, capsys):
    repository = Repository(files_of("segmentation_tiny"))
    old = repository.refs["main"]
    newer = dict(files_of("segmentation_tiny"), **{"model.safetensors": b"not weights"})
    repository.commit(newer)
    hub.repositories["me/segmenter"] = repository
    path = tmp_path / "list.json"
    path.write_text(list_text([Published("me/segmenter", old)]))
    code, report = run(tmp_path, path, "--levels", "logits")
    assert code == 0
    assert report["checkpoints"][0]["revision"] == old and report["checkpoints"][0]["pinned"]
    assert "not pinned" not in capsys.readouterr().out
    # The newer commit's damaged weights are an error in the report, and no crash.
    path.write_text(list_text([Published("me/segmenter", repository.refs["main"])]))
    code, report = run(tmp_path, path, "--levels", "logits")
    assert code == 3
    assert "torch_ref failed" in report["checkpoints"][0]["finding"]


def test_a_difference_is_1(hub, tmp_path, capsys):
    hub.repositories["me/segmenter"] = Repository(files_of("segmentation_tiny"))
    path = tmp_path / "list.json"
    path.write_text(list_text([Published("me/segmenter", None)]))
    with tanh_gelu(None):
        code, report = run(tmp_path, path, "--levels", "logits,taps")
    assert code == 1
    (outcome,) = report["checkpoints"]
    assert outcome["verdict"] == "different"
    assert "segformer.encoder.block.0.0.mlp.activation" in outcome["finding"]
    assert "**different**" in capsys.readouterr().out


def test_the_list_names_every_published_checkpoint():
    ids = [entry.id for entry in read_list()]
    assert len(ids) == 18
    ade = [f"nvidia/segformer-b{n}-finetuned-ade-512-512" for n in range(5)]
    ade.append("nvidia/segformer-b5-finetuned-ade-640-640")
    city = [f"nvidia/segformer-b{n}-finetuned-cityscapes-1024-1024" for n in range(6)]
    assert ids == [*ade, *city, *(f"nvidia/mit-b{n}" for n in range(6))]


def test_only_chooses_by_parts_of_ids():
    entries = read_list()
    assert [each.id for each in chosen(entries, "mit-b0, b5-finetuned-ade")] == [
        "nvidia/segformer-b5-finetuned-ade-640-640",
        "nvidia/mit-b0",
    ]
    assert chosen(entries, None) == entries
    for words in ("b7", "", "mit-b0,b9"):
        with pytest.raises(ListError, match="fits no checkpoint"):
            chosen(entries, words)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "cannot read the list"),
        ('{"version": 2, "checkpoints": []}', "is of version 2"),
        ('{"version": 1, "checkpoints": []}', "lists no checkpoint"),
        ('{"version": 1, "checkpoints": [{"id": "a/b"}]}', "cannot read the list"),
        ('{"version": 1, "checkpoints": [{"id": "../x/y", "revision": null}]}', "no id of a repository"),
        ('{"version": 1, "checkpoints": [{"id": "a/b", "revision": "main"}]}', "would not pin anything"),
    ],
)
def test_a_list_that_makes_no_sense_is_wrong_usage(tmp_path, content, message, capsys):
    path = tmp_path / "list.json"
    path.write_text(content)
    with pytest.raises(ListError, match=message):
        read_list(path)
    assert app(["published", "--list", str(path)]) == 2


def test_a_checkpoint_twice_is_refused(tmp_path):
    path = tmp_path / "list.json"
    path.write_text(list_text([Published("a/b", None), Published("a/b", "0" * 40)]))
    with pytest.raises(ListError, match="twice"):
        read_list(path)
