"""What TensorFlow makes of this processor: whether oneDNN computes, and whether it does so in bfloat16.

TensorFlow says neither but in its log, so this reads what TensorFlow reads: the processor's flags and the
environment. Linux on x86 only; elsewhere nothing is known.
"""

from __future__ import annotations

import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# With one of these TensorFlow uses oneDNN by itself, without them only if TF_ENABLE_ONEDNN_OPTS says so.
WITH_ONEDNN = frozenset({"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"})
WITH_BFLOAT16 = "avx512bw"  # oneDNN's kernels for bfloat16 are written for AVX-512


def flags() -> frozenset[str]:
    """Return the processor's flags as Linux names them; empty where they are not known."""
    if not CPUINFO.exists():
        return frozenset()
    for line in CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, values = line.partition(":")
        if name.strip() == "flags":
            return frozenset(values.split())
    return frozenset()


def runs_onednn() -> bool | None:
    """Whether TensorFlow, if it is imported in this environment, uses oneDNN; None if that is not known."""
    asked = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "").lower()
    if asked in ("0", "false", "1", "true"):
        return asked in ("1", "true")
    found = flags()
    return bool(found & WITH_ONEDNN) if found else None


def bfloat16_obstacle() -> str | None:
    """Return why oneDNN does not compute in bfloat16 here, and what to do; None if it does or may.

    TensorFlow's own kernels then do: each rounds what it passes on, so that results are further from
    float32, and they take longer than in float32.
    """
    if (found := flags()) and WITH_BFLOAT16 not in found:
        return "this processor has no AVX-512, which oneDNN needs for bfloat16"
    if runs_onednn() is False:
        return "TensorFlow runs without oneDNN here: set TF_ENABLE_ONEDNN_OPTS=1 before it starts"
    return None
