"""The main job on one photograph: PyTorch checkpoint → served TensorFlow model, with the numbers compared.

    python examples/demo.py [--model FOLDER_OR_HUB_ID] [--photo FILE] [--output out/demo]

Each step is a public command; it is printed before it runs, so that it can be copied.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "tests" / "fixtures" / "photos" / "china.jpg"


def main() -> int:
    """Run the steps; the exit code is 0 if the two frameworks agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", help="checkpoint folder or Hub id (default: a seeded B0, no network)")
    parser.add_argument("--photo", type=Path, default=PHOTO, help="image file (default: a bundled one)")
    parser.add_argument("--output", type=Path, default=Path("out/demo"), help="folder for all that is made")
    options = parser.parse_args()
    if not options.photo.is_file():
        parser.error(f"there is no photograph {options.photo}")
    start = time.perf_counter()
    output = options.output
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    model = options.model or str(output / "checkpoint")
    name = Path(options.model).name if options.model else "segformer-b0-seeded"

    if options.model is None:
        step(1, "Write a seeded B0 checkpoint in the published layout (no network needed)")
        run("torch_ref", "write-checkpoint", model, "--variant", "b0", "--num-labels", "150")
    else:
        step(1, f"Use the checkpoint {model}")

    step(2, "Load it into Keras with from_pt=True, export it, check the export in a fresh process")
    describe_loading(model)
    run("serving", "export", model, str(output / "models" / name))
    version = output / "models" / name / "1"

    step(3, "Segment the photograph through the SavedModel, in a process that imports only TensorFlow")
    answers = output / "answers.npz"
    run_file(
        "serving/session_check.py", str(version), "--signature", "serving_default",
        "--image", str(options.photo), "--outputs", str(answers), "--json", str(output / "session.json"),
        quiet=True,
    )  # fmt: skip
    picture = draw(answers, options.photo, model, output)

    step(4, "Compare with PyTorch: pixels, every layer, logits, label maps")
    report = output / "parity.json"
    code = run(
        "parity", "run", model, "--image", str(options.photo), "--saved-model", str(version),
        "--report", str(report), check=False,
    )  # fmt: skip

    seconds = time.perf_counter() - start
    verdict = {0: "The frameworks agree.", 1: "The frameworks DIFFER; see the table."}
    print(f"\n{verdict.get(code, 'The comparison could not be made.')} ({seconds:.0f} s in all)\n")
    if options.model is None:
        print(
            "The weights are seeded, not trained: labels mean nothing; the parity is exact all the same.\n"
            "With network: make demo MODEL=nvidia/segformer-b4-finetuned-ade-512-512\n"
        )
    print(f"  served model    {version}/  (what TensorFlow Serving loads)")
    print(f"  label map       {output / 'labels.png'}")
    print(f"  picture         {picture}")
    print(f"  parity report   {report}")
    print(f"\nNext: tf-segformer segment YOUR_PHOTO --model {shlex.quote(model)} -o labels.png")
    return code


def describe_loading(model: str) -> None:
    """Load the checkpoint in this process, as a user would."""
    from tf_segformer import TFSegformerForSemanticSegmentation

    loaded = TFSegformerForSemanticSegmentation.from_pretrained(model, from_pt=True)
    print(
        f"TFSegformerForSemanticSegmentation.from_pretrained({model!r}, from_pt=True): "
        f"{loaded.num_parameters():,} parameters, {loaded.config.num_labels} labels"
    )


def draw(answers: Path, photo: Path, model: str, output: Path) -> Path:
    """Write the label map that the SavedModel answered, and its overlay with a legend."""
    import numpy as np
    from PIL import Image
    from transformers import SegformerConfig

    from serving.session_check import read_npz
    from tf_segformer.labels import label_set_for
    from tf_segformer.overlay import class_shares, write_overlay

    mask = read_npz(answers)["serving_default/mask_png_bytes"][0]
    (output / "labels.png").write_bytes(mask)
    labels = np.asarray(Image.open(BytesIO(mask))).astype(np.int32)
    pixels = np.asarray(Image.open(photo).convert("RGB"))
    label_set = label_set_for(SegformerConfig.from_pretrained(model))
    write_overlay(pixels, labels, label_set, output / "overlay.png")
    largest = ", ".join(f"{found.name} {found.share:.0%}" for found in class_shares(labels, label_set)[:5])
    seconds = json.loads((output / "session.json").read_text())["runs"]["serving_default"]["seconds"]
    print(f"{photo.name}: {labels.shape[1]}×{labels.shape[0]}, first request {seconds} s; {largest}, …")
    return output / "overlay.png"


def step(number: int, title: str) -> None:
    """Print a heading."""
    print(f"\n[{number}/4] {title}", flush=True)


def run(package: str, *arguments: str, check: bool = True) -> int:
    """Run `python -m package …`, shown as a command."""
    return _run(["-m", package, *arguments], check=check, quiet=False)


def run_file(file: str, *arguments: str, quiet: bool = False) -> int:
    """Run a script of the repository."""
    return _run([file, *arguments], check=True, quiet=quiet)


def _run(arguments: list[str], *, check: bool, quiet: bool) -> int:
    print(f"$ python {shlex.join(arguments)}", flush=True)
    out = subprocess.DEVNULL if quiet else None
    code = subprocess.run([sys.executable, *arguments], cwd=None, stdout=out, check=False).returncode
    if check and code:
        raise SystemExit(f"The step failed with exit code {code}; nothing after it was run.")
    return code


if __name__ == "__main__":
    sys.exit(main())
