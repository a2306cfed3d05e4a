"""Command line of the serving package: ``python -m serving export MODEL models/NAME``."""

from __future__ import annotations

import enum
import json
import os
import shlex
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from serving.layout import LayoutError, check_destination

SERVER_IMAGE = "tensorflow/serving:2.20.0"


class Resizing(enum.Enum):
    """The policies of `tf_segformer.resizing`, named here so that no TensorFlow loads for --help."""

    checkpoint = "checkpoint"
    keep_ratio = "keep-ratio"
    paper = "paper"
    sliding_window = "sliding-window"


class Pillow(enum.Enum):
    """`tf_segformer.resampling.PASS_ORDERS`."""

    newer = "pillow>=13"
    older = "pillow<13"


class Confidence(enum.Enum):
    """The measures of `tf_segformer.confidence`."""

    probability = "probability"
    margin = "margin"
    entropy = "entropy"


class Precision(enum.Enum):
    """`serving.options.PRECISIONS`."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class Weights(enum.Enum):
    """`serving.options.WEIGHTS`."""

    float32 = "float32"
    float16 = "float16"


app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
_console = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)


@app.callback()
def main() -> None:
    """Export SegFormer checkpoints for TensorFlow Serving."""


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="Checkpoint folder or Hugging Face Hub id.")],
    destination: Annotated[Path, typer.Argument(help="models/NAME; versions become folders in it.")],
    version: Annotated[
        int | None, typer.Option(help="Number to publish; default: the next free one.")
    ] = None,
    batch_size: Annotated[
        list[int] | None,
        typer.Option(help="Batch size to warm up and allow; repeat for more. Default: 1, 2, 4 and 8."),
    ] = None,
    resizing: Annotated[
        Resizing,
        typer.Option(
            help="How images are brought to the network's size: as the checkpoint says (most squash them); "
            "keeping their shape; by the paper's protocol; or in overlapping windows."
        ),
    ] = Resizing.checkpoint,
    short_side: Annotated[
        int | None,
        typer.Option(help="keep-ratio, sliding-window: length of the shorter side; 0: the image's own."),
    ] = None,
    long_side: Annotated[
        int | None, typer.Option(help="keep-ratio, sliding-window: limit of the longer side.")
    ] = None,
    window: Annotated[
        tuple[int, int] | None, typer.Option(help="sliding-window: its height and width.")
    ] = None,
    stride: Annotated[
        tuple[int, int] | None, typer.Option(help="sliding-window: the step down and to the right.")
    ] = None,
    exif_orientation: Annotated[
        bool, typer.Option(help="Turn images upright as their camera noted; the reference does not.")
    ] = False,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Images of more pixels are refused before they are decoded.")
    ] = 50_000_000,
    max_bytes: Annotated[
        int, typer.Option(min=1, help="Files of more bytes are refused before anything is done with them.")
    ] = 200_000_000,
    webp: Annotated[bool, typer.Option(help="Read WebP; servers older than TensorFlow 2.20 cannot.")] = True,
    pillow: Annotated[
        Pillow, typer.Option(help="Which Pillow resizing equals: the order of its passes changed in 13.")
    ] = Pillow.newer,
    confidence: Annotated[
        Confidence, typer.Option(help="What the confidence map of segment_with_confidence shows.")
    ] = Confidence.probability,
    precision: Annotated[
        Precision,
        typer.Option(
            help="Of the network's matrix products and weights. bfloat16 halves the file and is faster where "
            "the processor has AMX; what it changes is measured, printed and kept in the manifest."
        ),
    ] = Precision.float32,
    weights: Annotated[
        Weights | None,
        typer.Option(
            help="How the weights lie on disk; default: as they are computed with. float16 halves the file; "
            "once loaded they are float32, as fast and as large as ever. What the rounding changes is "
            "measured, printed and kept in the manifest."
        ),
    ] = None,
    parity_report: Annotated[
        Path | None,
        typer.Option(help="JSON report of a parity run of this checkpoint, kept in the manifest."),
    ] = None,
) -> None:
    """Write, check and publish one version of a model."""
    try:
        check_destination(destination, version)  # before TensorFlow loads, which takes seconds
        report = _read_report(parity_report)
    except LayoutError as error:
        _fail(error)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from serving.export import BATCH_SIZES, ExportError, export_saved_model
    from serving.options import ExportOptions
    from serving.verification import CheckFailedError
    from tf_segformer.checkpoints import CheckpointError, ConfigError
    from tf_segformer.resizing import Resizing as ResizingPolicy

    try:
        policy = ResizingPolicy(
            resizing.value, short_side=short_side, long_side=long_side, window=window, stride=stride
        )
        options = ExportOptions(
            policy,
            exif_orientation,
            max_pixels,
            max_bytes,
            webp,
            pillow.value,
            confidence.value,
            precision.value,
            None if weights is None else weights.value,
        )
    except ValueError as error:
        _fail(error)
    try:
        with _console.status("Starting") as status:

            def show(step: str) -> None:
                _console.print(f"[dim]·[/dim] {step}")
                status.update(step)

            path = export_saved_model(
                model,
                destination,
                version,
                batch_sizes=batch_size or BATCH_SIZES,
                options=options,
                parity_report=report,
                progress=show,
            )
    except (LayoutError, ExportError, CheckFailedError, CheckpointError, ConfigError) as error:
        _fail(error)
    _console.print(_summary(path), markup=False, soft_wrap=True)


@app.command()
def signatures(
    version_dir: Annotated[Path, typer.Argument(help="models/NAME/VERSION, an exported version.")],
) -> None:
    """Print, as Markdown, what a version's signatures take and return: docs/signatures.md."""
    from serving.documentation import DocumentationError, signatures_page

    try:
        print(signatures_page(version_dir), end="")
    except DocumentationError as error:
        _fail(error)


def _read_report(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        _fail(
            ValueError(
                f"{path}: not a readable JSON report ({error}); give what `parity run --report` wrote."
            )
        )
    if not isinstance(report, dict):
        _fail(
            ValueError(f"{path} holds a JSON {type(report).__name__}; give what `parity run --report` wrote.")
        )
    return report


def _fail(error: Exception) -> NoReturn:
    _errors.print("[red]error:[/red] ", end="")
    _errors.print(str(error), markup=False, soft_wrap=True)
    raise typer.Exit(1)


def _summary(path: Path) -> str:
    """What was made, and the commands that use it."""
    content = json.loads((path / "assets.extra" / "manifest.json").read_text(encoding="utf-8"))
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    name = path.parent.name
    script = Path(__file__).with_name("session_check.py")
    script = script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script
    quoted, base = shlex.quote(str(path)), shlex.quote(str(path.parent.absolute()))
    shapes = [
        f"  {signature}: {_tensors(sides['inputs'])} → {_tensors(sides['outputs'])}"
        for signature, sides in content["signatures"].items()
    ]
    return "\n".join(
        [
            f"Published {path} ({size / 1e6:.1f} MB).",
            *shapes,
            "",
            "Check it on any machine, with nothing but TensorFlow (pip install tensorflow):",
            f"  python {shlex.quote(str(script))} {quoted} --image photo.jpg --outputs answers.npz",
            "Serve it (needs Docker):",
            f"  docker run --rm -p 8500:8500 -p 8501:8501 -v {base}:/models/{name} -e MODEL_NAME={name} "
            f"{SERVER_IMAGE} --enable_batching "
            f"--batching_parameters_file=/models/{name}/{path.name}/assets.extra/batching_parameters.txt",
            "Ask it:",
            """  printf '{"inputs": [{"b64": "%s"}]}' "$(base64 < photo.jpg | tr -d '\\n')" |"""
            f" curl -s -d @- http://localhost:8501/v1/models/{name}:predict",
        ]
    )


def _tensors(tensors: dict) -> str:
    return ", ".join(
        f"{name} {tensor['dtype']}[{','.join('?' if size == -1 else str(size) for size in tensor['shape'])}]"
        for name, tensor in sorted(tensors.items())
    )
