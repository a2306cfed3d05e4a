"""How far does a GPU's TF32 move the reference? Needs PyTorch with CUDA and a GPU; no TensorFlow.

    python -m benchmarks.tf32

The seeded B0 and one random image, against the reference in float64 on the CPU: its float32 on the CPU, on
the GPU, and on the GPU with TF32 in products and convolutions. Errors are over the largest logit.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from parity.tolerances import LOGITS_FLOAT32_MULTIPLE
from torch_ref import Reference, write_seeded_checkpoint


def logits(folder: Path, dtype: str, device: str, pixels: np.ndarray, *, tf32: bool = False) -> np.ndarray:
    """The reference's logits, float64 [1, classes, h, w]."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    model = Reference.from_pretrained(folder, dtype).model.to(device)
    values = torch.from_numpy(pixels).to(device, next(model.parameters()).dtype)
    with torch.inference_mode():
        return model(values).logits.double().cpu().numpy()


def main() -> None:
    """Print the table."""
    if not torch.cuda.is_available():
        raise SystemExit("There is no GPU that PyTorch can use, so TF32 cannot be tried.")
    pixels = np.random.default_rng(0).standard_normal((1, 3, 512, 512)).astype(np.float32)
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_seeded_checkpoint(Path(temporary) / "b0", "b0")
        exact = logits(folder, "float64", "cpu", pixels)
        runs = {
            "CPU, float32": logits(folder, "float32", "cpu", pixels),
            "GPU, float32": logits(folder, "float32", "cuda", pixels),
            "GPU, TF32": logits(folder, "float32", "cuda", pixels, tf32=True),
        }
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}\n")
    print(f"| | error ÷ scale (gate {LOGITS_FLOAT32_MULTIPLE:.0e}) | labels that agree |\n|---|---:|---:|")
    for name, found in runs.items():
        error = np.abs(found - exact).max() / np.abs(exact).max()
        agreement = (found.argmax(1) == exact.argmax(1)).mean()
        print(f"| {name} | {error:.1e} | {agreement:.6f} |")


if __name__ == "__main__":
    main()
