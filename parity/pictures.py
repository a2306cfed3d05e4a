"""Pictures for reports: arrays in, `data:` URIs out, so that a page needs no other file."""

from __future__ import annotations

import base64
import colorsys
import io
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np

# Longest side of a picture in a report.
LARGEST = 640
# Errors are drawn by their size in gates: from this share of the gate (dark) up to the gate (bright).
FAINTEST = 1e-3
# Dark blue, blue, teal, green, yellow: brightness rises all along, so that it reads in gray as well.
_PASSING = np.array([(13, 8, 60), (41, 62, 130), (32, 121, 139), (60, 175, 112), (250, 231, 85)], float)
# Above the gate: from pale to dark red.
_FAILING = np.array([(255, 176, 160), (226, 40, 40), (110, 0, 18)], float)
TIE_COLOUR, FAILURE_COLOUR, IGNORED_COLOUR = (255, 176, 32), (255, 45, 45), (24, 24, 27)


def data_uri(picture: np.ndarray, *, photograph: bool = False) -> str:
    """Encode uint8 (H, W, 3): as JPEG if it is a photograph, else as PNG."""
    from PIL import Image

    file, kind = io.BytesIO(), "jpeg" if photograph else "png"
    image = Image.fromarray(np.ascontiguousarray(picture, np.uint8))
    if photograph:
        image.save(file, "JPEG", quality=85)
    else:
        image.save(file, "PNG", optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def palette_for(classes: int) -> np.ndarray:
    """Colours of the classes, uint8 (K, 3): the usual ones of ADE20K and Cityscapes, else distinct hues."""
    known = {150: "ade20k.json", 19: "cityscapes.json"}.get(classes)
    # Found, not imported: importing the port would load TensorFlow.
    package = find_spec("tf_segformer") if known else None
    if package is not None and package.submodule_search_locations:
        path = Path(next(iter(package.submodule_search_locations))) / "data" / str(known)
        content = json.loads(path.read_text(encoding="utf-8"))
        return np.array([entry["color"] for entry in content["classes"]], np.uint8)
    hues = [(0.58 + 0.618033988749895 * label) % 1.0 for label in range(classes)]
    shades = [((0.62, 0.9), (0.5, 0.72), (0.85, 0.8))[label // 9 % 3] for label in range(classes)]
    colours = [colorsys.hsv_to_rgb(hue, *shade) for hue, shade in zip(hues, shades, strict=True)]
    return np.round(255 * np.array(colours)).astype(np.uint8).reshape(-1, 3)


def smaller(picture: np.ndarray, largest: int = LARGEST) -> np.ndarray:
    """A photograph, scaled down to fit a report: uint8 (h, w, 3)."""
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    return np.asarray(image)


def label_picture(labels: np.ndarray, palette: np.ndarray, largest: int = LARGEST) -> np.ndarray:
    """A label map in its classes' colours; labels that no class has are almost black.

    Args:
        labels: int (H, W).
        palette: uint8 (K, 3).
        largest: longest side of the picture.
    """
    step = _step(labels.shape, largest)
    thinned = labels[step // 2 :: step, step // 2 :: step]
    known = (thinned >= 0) & (thinned < len(palette))
    picture = palette[np.where(known, thinned, 0)]
    picture[~known] = IGNORED_COLOUR
    return picture


def difference_picture(
    photograph: np.ndarray, different: np.ndarray, ties: np.ndarray, largest: int = LARGEST
) -> np.ndarray:
    """The photograph, pale and gray, with every pixel marked on which the label maps differ.

    Args:
        photograph: uint8 (H, W, 3).
        different: bool (H, W).
        ties: bool (H, W): those of them that are ties. They are amber, the others red.
        largest: longest side of the picture. A single pixel stays visible however large the photograph.
    """
    gray = smaller(photograph, largest).mean(axis=-1)
    height, width = gray.shape
    picture = np.repeat((150 + 0.35 * gray).astype(np.uint8)[..., None], 3, axis=-1)
    reach = max(1, max(height, width) // 100)
    around = range(-reach, reach + 1)
    for mask, colour in ((different & ties, TIE_COLOUR), (different & ~ties, FAILURE_COLOUR)):
        rows, columns = np.nonzero(mask)
        y = rows * height // mask.shape[0]
        x = columns * width // mask.shape[1]
        for dy in around:
            for dx in around:
                picture[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)] = colour
    return picture


def heat_picture(in_gates: np.ndarray, smallest: int = 160) -> np.ndarray:
    """Errors as colours: dark to yellow below the gate, logarithmically; above it red, pale to dark.

    Args:
        in_gates: float (h, w), error ÷ gate. Above 1 the reds lead up to this map's own largest error;
            what is not finite is darkest.
        smallest: small maps are enlarged, pixel by pixel, until their longer side has this length.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        passing = 1.0 - np.log10(in_gates) / np.log10(FAINTEST)  # 0 at FAINTEST, 1 at the gate
    finite = in_gates[np.isfinite(in_gates)]
    largest = finite.max(initial=1.0)
    failing = np.where(np.isfinite(in_gates), in_gates - 1.0, np.inf) / max(largest - 1.0, 1e-300)
    passes = (in_gates <= 1.0)[..., None]  # not for NaN
    picture = np.where(passes, _blend(passing, _PASSING), _blend(failing, _FAILING))
    factor = max(1, -(-smallest // max(picture.shape[:2])))
    step = _step(in_gates.shape, LARGEST)
    return picture[::step, ::step].repeat(factor, 0).repeat(factor, 1).round().astype(np.uint8)


def heat_scale(*, failing: bool, width: int = 256) -> np.ndarray:
    """A legend of `heat_picture`, up to the gate or from there on: uint8 (12, width, 3)."""
    values = np.linspace(1.0 + 1e-6, 2.0, width) if failing else np.logspace(np.log10(FAINTEST), 0, width)
    return heat_picture(values[None].repeat(12, 0), 1)


def _blend(place: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Colours (h, w, 3) at places (h, w), 0 to 1, along a list of colours."""
    along = np.clip(np.nan_to_num(place, nan=1.0), 0.0, 1.0) * (len(colours) - 1)
    lower = np.minimum(along.astype(int), len(colours) - 2)
    share = (along - lower)[..., None]
    return colours[lower] * (1 - share) + colours[lower + 1] * share


def _step(shape: tuple[int, ...], largest: int) -> int:
    return max(1, -(-max(shape) // largest))
