"""Where a result was made: machine, library versions, memory."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib import metadata
from pathlib import Path


def machine() -> dict[str, str]:
    """Platform, processor and number of cores; no names of hosts or users."""
    processor = platform.processor() or platform.machine()
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    return {
        "platform": platform.platform(),
        "processor": processor,
        "cores": str(os.cpu_count()),
    }


def library_versions() -> dict[str, str]:
    """Versions of Python and of what decides about numbers, where installed."""
    versions = {"python": platform.python_version()}
    for name in ("numpy", "pillow", "torch", "transformers", "tensorflow", "keras"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def peak_memory_bytes() -> int:
    """The largest resident size of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak if sys.platform == "darwin" else peak * 1024
