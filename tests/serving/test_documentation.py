"""docs/signatures.md against an export."""

import json
import shutil
from pathlib import Path

import pytest

from serving.documentation import DocumentationError, signatures_page

PAGE = Path(__file__).parents[2] / "docs" / "signatures.md"


def test_the_page_is_what_the_export_says(version_dir):
    """If this fails: python -m serving signatures models/NAME/1 > docs/signatures.md."""
    assert PAGE.read_text(encoding="utf-8") == signatures_page(version_dir)


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_a_tensor_that_is_not_documented_is_an_error(version_dir, tmp_path, side):
    copy = tmp_path / "1" / "assets.extra"
    shutil.copytree(version_dir / "assets.extra", copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["signatures"]["logits"][side]["another"] = {"dtype": "float32", "shape": [-1]}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DocumentationError, match="another"):
        signatures_page(copy.parent)


def test_a_folder_without_a_manifest_is_an_error(tmp_path):
    with pytest.raises(DocumentationError, match="give models/NAME/VERSION"):
        signatures_page(tmp_path)
