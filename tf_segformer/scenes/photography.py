"""What a camera adds: exposure, a colour cast, a vignette, blur, noise, and JPEG."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


def photograph(image: np.ndarray, rng: np.random.Generator) -> bytes:
    """Take a picture of a painted scene.

    Args:
        image: float32 [height, width, 3], about 0 to 1.
        rng: Decides how.

    Returns:
        A JPEG file.
    """
    height, width, _ = image.shape
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    tilt, vignette = rng.uniform(-0.2, 0.2, 2).astype(np.float32), rng.uniform(0, 0.2)
    light = rng.uniform(0.8, 1.25) * (1 + tilt[0] * x + tilt[1] * y) * (1 - vignette * (x * x + y * y))
    cast = rng.normal(1, 0.05, 3).astype(np.float32)
    saturation, gamma = rng.uniform(0.55, 1.15), rng.uniform(0.65, 1.15)
    blur, noise, quality = rng.uniform(0.2, 0.7), rng.uniform(0.004, 0.024), int(rng.integers(60, 96))
    gray = (image @ _LUMINANCE)[..., None]
    image = (gray + (image - gray) * np.float32(saturation)) * (255 * cast) * light[..., None]
    curve = [round(255 * (level / 255) ** gamma) for level in range(256)]
    picture = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).point(curve * 3)
    picture = picture.filter(ImageFilter.GaussianBlur(blur * min(height, width) / 256))
    grain = rng.standard_normal((height, width, 3), np.float32)
    noisy = np.asarray(picture) + grain * np.float32(255 * noise)
    file = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return file.getvalue()
