"""`docs/signatures.md`: what an export's signatures take and return, read from the export itself.

    python -m serving signatures models/NAME/1 > docs/signatures.md

Names, dtypes and shapes come from the SavedModel; what they mean stands here. A tensor without a
meaning, or a meaning without its tensor, is an error, so that the page cannot fall behind.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FILES = (
    'image files, whole: JPEG, PNG, GIF, BMP or WebP; over REST as `{"b64": …}`. '
    "[image-formats.md](image-formats.md) says which kinds"
)
_SIZE = "the image's own {} in pixels; 0 if it was refused"
_PER_IMAGE = {
    "height": ("N", _SIZE.format("height")),
    "width": ("N", _SIZE.format("width")),
    "status_bytes": ("N", "`ok`, or in a few words why the image was refused; see below"),
}
_MASK = (
    "N",
    "label ids, gray PNG of the image's own size: 8-bit up to 255 classes, 16-bit above; empty if refused",
)

# By signature: what it is for; its input; its outputs: axes and meaning.
_Tensors = dict[str, tuple[str, str]]
_MEANINGS: dict[str, tuple[str, _Tensors, _Tensors]] = {
    "serving_default": (
        "Image file → label map. The default: the one a request gets that names no signature.",
        {"image_bytes": ("N", _FILES)},
        {"mask_png_bytes": _MASK, **_PER_IMAGE},
    ),
    "segment_with_confidence": (
        "Image file → label map, how sure the model is of each pixel, and what was found.",
        {"image_bytes": ("N", _FILES)},
        {
            "mask_png_bytes": _MASK,
            "confidence_png_bytes": (
                "N",
                "gray 8-bit PNG of the image's own size, round(255 × confidence). Confidence is, as chosen "
                "at export: the softmax probability of the winning class (the default); its margin to the "
                "second; or the entropy of the softmax ÷ log K, where 0 is certain. Empty if refused",
            ),
            "class_share": (
                "N, K",
                "each class's share of the image's pixels, 0 to 1; found are those above 0",
            ),
            "class_confidence": (
                "N, K",
                "the mean confidence over those pixels, 0 to 1; 0 where there are none",
            ),
            **_PER_IMAGE,
        },
    ),
    "overlay": (
        "Image file → picture for people: the image, half covered by its classes' colours (`labels.json`).",
        {"image_bytes": ("N", _FILES)},
        {"overlay_png_bytes": ("N", "RGB PNG of the image's own size; empty if refused"), **_PER_IMAGE},
    ),
    "segment_pixels": (
        "Decoded pixels → label map, for images of one size.",
        {"pixels": ("N, H, W, 3", "RGB, 0 to 255, not resized")},
        {"labels": ("N, H, W", "label ids")},
    ),
    "logits_from_bytes": (
        "Image file → the network's logits, at a quarter of the network's input size.",
        {"image_bytes": ("N", _FILES)},
        {
            "logits": ("N, h, w, K", "before softmax; zeros if refused"),
            "logits_height": ("N", "the rows of `logits` that are the image's; the rest is zeros"),
            "logits_width": ("N", "the columns"),
            **_PER_IMAGE,
        },
    ),
    "logits": (
        "Preprocessed pixel values → logits.",
        {
            "pixel_values": (
                "N, H, W, 3",
                "resized, rescaled and normalised as the checkpoint's processor does",
            )
        },
        {"logits": ("N, h, w, K", "before softmax; h = ⌈H/4⌉, w = ⌈W/4⌉")},
    ),
    "features": (
        "Preprocessed pixel values → the encoder's feature maps.",
        {
            "pixel_values": (
                "N, H, W, 3",
                "resized, rescaled and normalised as the checkpoint's processor does",
            )
        },
        {
            f"hidden_state_{i}": (
                f"N, H/{4 << i}, W/{4 << i}, C{i + 1}",
                f"of stage {i + 1}, sides rounded up",
            )
            for i in range(4)
        },
    ),
}
# Only where images keep their shape, which makes their logits differ in size.
_OF_SOME_EXPORTS = {"logits_height", "logits_width"}

_INTRODUCTION = """\
# Signatures

What an exported model takes and returns. N is the batch, which a server may merge from several requests; K
the number of classes. Tensors whose name ends in `_bytes` hold bytes, which REST carries as base64.
`assets.extra/labels.json` names the ids and gives their colours; `assets.extra/manifest.json` says how the
model was exported.

This page is written by `python -m serving signatures models/NAME/1`, and a test holds it against an export.
"""


class DocumentationError(RuntimeError):
    """An export's signatures are not those that are documented."""


def signatures_page(version_dir: Path) -> str:
    """Return the page for an exported version.

    Raises:
        DocumentationError: the version has no readable manifest, or its signatures have other tensors.
    """
    path = Path(version_dir) / "assets.extra" / "manifest.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["signatures"]
    except (OSError, ValueError, KeyError) as error:
        raise DocumentationError(
            f"{path}: no readable manifest ({error}); give models/NAME/VERSION."
        ) from error
    _require_equal("signatures", set(found), set(_MEANINGS))
    parts = [_INTRODUCTION]
    for name, (purpose, inputs, outputs) in _MEANINGS.items():
        rows = [*_rows(name, "input", inputs, found[name]["inputs"])]
        rows += _rows(name, "output", outputs, found[name]["outputs"])
        header = ["| | tensor | dtype | shape | meaning |", "| --- | --- | --- | --- | --- |"]
        parts.append("\n".join([f"## `{name}`", "", purpose, "", *header, *rows]) + "\n")
    return "\n".join([*parts, _statuses(), _SOME_EXPORTS])


def _rows(signature: str, side: str, meanings: _Tensors, found: dict[str, Any]) -> list[str]:
    _require_equal(f"{side}s of {signature}", set(found) | _OF_SOME_EXPORTS, set(meanings) | _OF_SOME_EXPORTS)
    rows = []
    for name, (axes, meaning) in meanings.items():
        if name in _OF_SOME_EXPORTS:
            rows.append(f"| {side}* | `{name}` | int32 | [{axes}] | {meaning} |")
            continue
        tensor = found[name]
        if len(tensor["shape"]) != len(axes.split(", ")):
            raise DocumentationError(
                f"{signature}: {name} has the shape {tensor['shape']}, documented [{axes}]."
            )
        rows.append(f"| {side} | `{name}` | {tensor['dtype']} | [{axes}] | {meaning} |")
    return rows


def _require_equal(what: str, found: set[str], documented: set[str]) -> None:
    if found != documented:
        raise DocumentationError(
            f"the {what} are {', '.join(sorted(found))}; documented in serving/documentation.py are "
            f"{', '.join(sorted(documented))}."
        )


def _statuses() -> str:
    from serving.images import STATUSES

    texts = "\n".join(f"- `{text.decode()}`" + (" …" if text.endswith(b": ") else "") for text in STATUSES)
    return f"""\
## Statuses

One bad file fails nobody else's request: it gets one of these texts and empty outputs, and keeps its place.

{texts}

The graph logs nothing about a file that it refuses. libjpeg and libpng write a line of their own about some
damaged files to the server's standard error; `TF_CPP_MIN_LOG_LEVEL=2` in the server's environment keeps
TensorFlow's lines about them away, and a container's log rotation bounds the rest.
"""


_SOME_EXPORTS = """\
## Exports that keep the images' shape

With `--resizing keep-ratio`, `paper` or `sliding-window`, or where the checkpoint's preprocessing has a
shortest edge or no resizing, images go through the network one after the other, and their logits differ in
size: `logits_from_bytes` pads them with zeros to the largest of the batch and has the two more outputs that
are marked \\*.
"""
