"""Command line of the serving package: ``python -m serving export MODEL models/NAME``."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from serving.layout import LayoutError, check_destination

SERVER_IMAGE = "tensorflow/serving:2.20.0"

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
) -> None:
    """Write, check and publish one version of a model."""
    try:
        check_destination(destination, version)  # before TensorFlow loads, which takes seconds
    except LayoutError as error:
        _fail(error)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from serving.export import BATCH_SIZES, ExportError, export_saved_model
    from serving.verification import CheckFailedError
    from tf_segformer.checkpoints import CheckpointError, ConfigError

    try:
        with _console.status("Starting") as status:

            def show(step: str) -> None:
                _console.print(f"[dim]·[/dim] {step}")
                status.update(step)

            path = export_saved_model(
                model, destination, version, batch_sizes=batch_size or BATCH_SIZES, progress=show
            )
    except (LayoutError, ExportError, CheckFailedError, CheckpointError, ConfigError) as error:
        _fail(error)
    _console.print(_summary(path), markup=False, soft_wrap=True)


def _fail(error: Exception) -> None:
    _errors.print("[red]error:[/red] ", end="")
    _errors.print(str(error), markup=False, soft_wrap=True)
    raise typer.Exit(1)


def _summary(path: Path) -> str:
    """What was made, and the commands that use it."""
    import json

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
