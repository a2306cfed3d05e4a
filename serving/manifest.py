"""What an exported version says about itself: ``assets.extra/manifest.json`` and ``labels.json``."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from tf_segformer.checkpoints import WEIGHTS_FILES
from tf_segformer.hub import find_file
from tf_segformer.labels import LabelSet

PACKAGES = ("tf-segformer", "tensorflow", "keras", "transformers", "numpy")
LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md")


def checkpoint_files(checkpoint: str | os.PathLike[str]) -> list[Path]:
    """Return the local paths of the weights that ``from_pretrained`` reads, index files included."""
    for name in WEIGHTS_FILES:
        path = find_file(checkpoint, name)
        if path is None:
            continue
        if not path.name.endswith(".index.json"):
            return [path]
        weight_map = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        shards = (find_file(checkpoint, shard) for shard in sorted(set(weight_map.values())))
        return [path, *(shard for shard in shards if shard is not None)]
    return []


def describe_checkpoint(checkpoint: str | os.PathLike[str]) -> dict[str, Any]:
    """Return a checkpoint's identity: its name, the SHA-256 of its files, its licence."""
    config = find_file(checkpoint, "config.json")
    files = [*checkpoint_files(checkpoint), *([config] if config else [])]
    return {
        "name": str(checkpoint),
        "revision": _hub_revision(config),
        "sha256": {path.name: _sha256(path) for path in files},
        "licence": _licence(checkpoint),
    }


def describe_packages() -> dict[str, str]:
    """Return the versions of what made the export; a package without metadata is left out."""
    return dict(_versions())


def describe_labels(label_set: LabelSet) -> dict[str, Any]:
    """Return the content of ``labels.json``: id, name and RGB colour of each class."""
    pairs = zip(label_set.names, label_set.palette, strict=True)
    classes = [{"id": index, "name": name, "color": list(color)} for index, (name, color) in enumerate(pairs)]
    return {"label_set": label_set.name, "classes": classes}


def copy_licence(checkpoint: str | os.PathLike[str], folder: Path) -> Path | None:
    """Copy the checkpoint's licence text, where it has one, into ``folder``."""
    for name in LICENCE_FILES:
        path = find_file(checkpoint, name)
        if path is not None:
            return Path(shutil.copyfile(path, folder / f"CHECKPOINT_{name}"))
    return None


def write_json(path: Path, content: Any) -> None:
    """Write readable JSON."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield package, metadata.version(package)
        except metadata.PackageNotFoundError:
            continue


def _hub_revision(path: Path | None) -> str | None:
    """The commit of a file in the Hub's cache, ``…/snapshots/COMMIT/config.json``."""
    if path is None or path.parent.parent.name != "snapshots":
        return None
    return path.parent.name


def _licence(checkpoint: str | os.PathLike[str]) -> str | None:
    """The licence in the front matter of the model card, e.g. ``other``."""
    card = find_file(checkpoint, "README.md")
    text = card.read_text(encoding="utf-8", errors="replace") if card else ""
    front_matter = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    if not front_matter:
        return None
    fields = dict(re.findall(r"^(license\w*):\s*(.+?)\s*$", front_matter[1], re.MULTILINE))
    return fields.get("license_name") or fields.get("license")
