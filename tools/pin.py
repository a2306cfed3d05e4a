"""Write the constraints files: every version that is installed, and how much there is to download.

Run by `make constraints`, which has `uv` and `packaging` at hand. uv resolves for Linux and macOS and
for all supported Python versions at once, with one version of each package for all of them, so that
the numbers of one machine can be compared with another's. A pin has a platform marker only where one
version cannot serve all: a constraint says nothing about a package that is not installed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.tags import Tag
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parent.parent
# The one version that is chosen by hand: the reference that every number was measured against.
PYTORCH = "torch==2.13.0"
# The separate environments of tests/environments/: what is installed, and the versions chosen by hand.
ENVIRONMENTS = {
    # what servers run: exports are executed under them
    "tensorflow-2.18": ("TensorFlow 2.18, alone", ["tensorflow", "numpy"], ["tensorflow==2.18.*"]),
    "tensorflow-2.20": ("TensorFlow 2.20, alone", ["tensorflow", "numpy"], ["tensorflow==2.20.*"]),
    # the last transformers with TensorFlow classes, and the TensorFlow that it was last tested with
    "legacy": (
        "The legacy TensorFlow classes of transformers 4.57.6",
        ["transformers", "tensorflow", "tf-keras", "datasets", "pillow", "pytest"],
        ["transformers==4.57.6", "tensorflow==2.19.*", "tf-keras==2.19.*"],
    ),
}
# What the benchmark compares with, beside the project itself and at the versions of constraints.txt.
PEERS = ["openvino", "onnxruntime", "onnx", "keras-hub", "scipy"]
# Sizes are said for the middle one of the supported Python versions; the others differ by little.
PYTHON = "3.12"
PLATFORMS = (("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64"))
CUDA = ("torch", "triton", "cuda-", "nvidia-")

Package = dict[str, Any]


def resolve(sources: list[Path], constraint: str, *options: str) -> list[Package]:
    """Return the packages (name, version, marker, wheels with sizes) that uv finds for ``sources``."""
    with tempfile.TemporaryDirectory() as scratch:
        constraints, lock = Path(scratch) / "constraints.txt", Path(scratch) / "pylock.toml"
        constraints.write_text(constraint + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal"]
        command += ["--python-version", "3.11", "--fork-strategy", "fewest", *options]
        command += ["--constraint", str(constraints), "--output-file", str(lock), *map(str, sources)]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        packages: list[Package] = tomllib.loads(lock.read_text(encoding="utf-8"))["packages"]
    return packages


def fits(tag: Tag, system: str, machine: str) -> bool:
    """Whether a wheel with this tag installs on the platform, for Python ``PYTHON``."""
    python = tag.interpreter in ("py3", "py312", "cp312") or tag.abi == "abi3"
    if system == "Linux":
        native = "manylinux" in tag.platform and tag.platform.endswith(machine)
    else:
        native = tag.platform.startswith("macosx") and tag.platform.endswith((machine, "universal2"))
    return python and (native or tag.platform == "any")


def download_size(package: Package, system: str, machine: str) -> int:
    """Bytes that pip downloads for one package on one platform; 0 where it is not installed."""
    environment = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_system": system,
        "python_full_version": f"{PYTHON}.0",
        "python_version": PYTHON,
        "sys_platform": system.lower(),
    }
    if "marker" in package and not Marker(package["marker"]).evaluate(environment):
        return 0
    sizes = [
        wheel["size"]
        for wheel in package.get("wheels", [])
        if any(fits(tag, system, machine) for tag in parse_wheel_filename(wheel["url"].rpartition("/")[2])[3])
    ]
    return max(sizes) if sizes else int(package["sdist"]["size"])


def pins(packages: list[Package]) -> list[str]:
    """Return the lines of a constraints file."""
    names = [package["name"] for package in packages]
    return sorted(
        f"{package['name']}=={package['version']}"
        + (f" ; {package['marker']}" if names.count(package["name"]) > 1 else "")
        for package in packages
    )


def write(path: Path, packages: list[Package], subject: str) -> None:
    """Write one constraints file."""
    lines = [
        f"# {subject}",
        "# Written by `make constraints`, which finds the newest versions that pyproject.toml allows;",
        "# not edited by hand. One version of each package for every supported Python and platform.",
    ]
    for system, machine in PLATFORMS:
        sizes = [(p["name"], download_size(p, system, machine) / 1e9) for p in packages]
        line = f"# download, {system} {machine}: {sum(size for _, size in sizes):.1f} GB"
        cuda = sum(size for name, size in sizes if name.startswith(CUDA))
        if system == "Linux" and cuda:
            line += f", of which torch with CUDA {cuda:.1f} GB (a CPU build is about 0.2 GB)"
        lines.append(line)
    pinned = pins(packages)
    path.write_text("\n".join([*lines, *pinned]) + "\n", encoding="utf-8")
    print(f"Wrote {path.relative_to(ROOT)}: {len(pinned)} packages")
    print("\n".join(line for line in lines if "download" in line))


def with_requirements(requirements: list[str], constraint: str, *, project: bool = False) -> list[Package]:
    """Resolve some requirements, alone or beside this project."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "requirements.in"
        source.write_text("\n".join(requirements) + "\n", encoding="utf-8")
        if not project:
            return resolve([source], constraint)
        return resolve(
            [ROOT / "pyproject.toml", source], constraint, "--extra", "parity", "--extra", "serving"
        )


def main() -> None:
    """Write all constraints files."""
    packages = resolve([ROOT / "pyproject.toml"], PYTORCH, "--extra", "dev")
    write(ROOT / "constraints.txt", packages, "Everything that `make demo` and `make test` install.")
    environments = ROOT / "tests" / "environments"
    for name, (subject, requirements, constraints) in ENVIRONMENTS.items():
        target = "make legacy-environment" if name == "legacy" else "make environments"
        found = with_requirements(requirements, "\n".join(constraints))
        write(environments / f"{name}.txt", found, f"{subject}, for `{target}`.")
    found = with_requirements(PEERS, "\n".join(pins(packages)), project=True)
    write(environments / "bench.txt", found, "The project and what it is measured against, for `make bench`.")


if __name__ == "__main__":
    main()
