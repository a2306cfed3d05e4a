"""The main job: PyTorch checkpoint → served TensorFlow model, shown on pictures, with the numbers compared.

    python examples/demo.py [--model FOLDER_OR_HUB_ID] [--photo FILE] [--output out/demo]

Each step is a public command; it is printed before it runs, so that it can be copied.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "tests" / "fixtures" / "photos" / "china.jpg"
# Trained on drawn scenes by this project's own command; its README.md says how well.
BUNDLED = ROOT / "examples" / "segformer-scenes"
HELD_OUT = 24  # scenes on which both frameworks are scored
SHOWN = 4  # the number of the scene that is shown, of those
STEPS = 5


def main() -> int:
    """Run the steps; the exit code is 0 if the two frameworks agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", help="checkpoint folder or Hub id (default: the bundled one)")
    parser.add_argument("--photo", type=Path, default=PHOTO, help="image file (default: a bundled one)")
    parser.add_argument("--output", type=Path, default=Path("out/demo"), help="folder for all that is made")
    options = parser.parse_args()
    if not options.photo.is_file():
        parser.error(f"there is no photograph {options.photo}")
    start = time.perf_counter()
    output = options.output
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    bundled = options.model is None
    model = str(BUNDLED) if bundled else options.model
    name = Path(model).name

    step(1, "Load the PyTorch checkpoint into Keras with from_pt=True")
    describe_loading(model)

    step(2, "Export it for TensorFlow Serving; the export is checked in a fresh process")
    run("serving", "export", model, str(output / "models" / name))
    version = output / "models" / name / "1"

    step(3, "Segment pictures through the SavedModel, in a process that imports only TensorFlow")
    scenes = output / "scenes"
    pictures = {"photo": options.photo}
    if bundled:
        run(
            "tf_segformer", "scenes", str(scenes), "--count", str(HELD_OUT), "--seed", "1",
            "--size", "384x288", "--split", "validation",
        )  # fmt: skip
        pictures = {"scene": scenes / f"images/validation/scene_{SHOWN:06}.jpg"} | pictures
    answers = output / "answers.npz"
    run_file(
        "serving/session_check.py", str(version), "--signature", "segment_with_confidence",
        *(f"--image={picture}" for picture in pictures.values()),
        "--outputs", str(answers), "--json", str(output / "session.json"), quiet=True,
    )  # fmt: skip
    draw(answers, pictures, model, output)

    step(4, "Compare with PyTorch on one picture: pixels, every layer, logits, gradients, label maps")
    report = output / "parity.json"
    picture = next(iter(pictures.values()))
    codes = [
        run(
            "parity", "run", model, "--image", str(picture), "--saved-model", str(version),
            "--report", str(report), "--html", str(report.with_suffix(".html")), check=False,
        )
    ]  # fmt: skip

    step(5, "Compare mIoU, from the files' bytes to the label maps" if bundled else "mIoU")
    if bundled:
        miou = output / "miou.html"
        codes.append(
            run(
                "parity", "miou", model, "--data", str(scenes), "--saved-model", str(version),
                "--html", str(miou), check=False,
            )
        )  # fmt: skip
    else:
        print("Needs annotated photographs: python -m parity miou --help")

    code = max(codes, key=lambda each: (each not in (0, 1), each))
    seconds = time.perf_counter() - start
    verdict = {0: "The frameworks agree.", 1: "The frameworks DIFFER; see the table."}
    print(f"\n{verdict.get(code, 'The comparison could not be made.')} ({seconds:.0f} s in all)\n")
    if bundled:
        print(
            "The bundled checkpoint is of drawn scenes (docs/scenes.md) and has seen no photograph:\n"
            "what it finds in one is luck. The parity is exact all the same.\n"
            "With network: make demo MODEL=nvidia/segformer-b4-finetuned-ade-512-512\n"
        )
    print(f"  served model    {version}/  (what TensorFlow Serving loads)")
    for kind in pictures:
        print(f"  {kind + ':':15} {output / kind}-overlay.png, -labels.png, -confidence.png")
    print(f"  parity report   {report}, .html")
    if bundled:
        print(f"  mIoU report     {miou}")
    print("\nNext, on your own photograph:")
    if sys.prefix != sys.base_prefix:  # these commands are in the environment that is running
        print(f"  source {shlex.quote(os.path.relpath(sys.prefix))}/bin/activate")
    print(f"  tf-segformer segment YOUR_PHOTO --model {shlex.quote(model)} -o labels.png")
    return code


def describe_loading(model: str) -> None:
    """Load the checkpoint in this process, as a user would."""
    from tf_segformer import TFSegformerForSemanticSegmentation

    loaded = TFSegformerForSemanticSegmentation.from_pretrained(model, from_pt=True)
    print(
        f"TFSegformerForSemanticSegmentation.from_pretrained({model!r}, from_pt=True): "
        f"{loaded.num_parameters():,} parameters, {loaded.config.num_labels} labels"
    )


def draw(answers: Path, pictures: dict[str, Path], model: str, output: Path) -> None:
    """Write the SavedModel's answers: label maps, confidence, overlays with a legend; print the classes."""
    import numpy as np
    from PIL import Image
    from transformers import SegformerConfig

    from serving.session_check import read_npz
    from tf_segformer.labels import label_set_for
    from tf_segformer.overlay import write_overlay

    answer = {name.partition("/")[2]: values for name, values in read_npz(answers).items()}
    label_set = label_set_for(SegformerConfig.from_pretrained(model))
    for i, (kind, picture) in enumerate(pictures.items()):
        mask = answer["mask_png_bytes"][i]
        (output / f"{kind}-labels.png").write_bytes(mask)
        (output / f"{kind}-confidence.png").write_bytes(answer["confidence_png_bytes"][i])
        labels = np.asarray(Image.open(BytesIO(mask))).astype(np.int32)
        pixels = np.asarray(Image.open(picture).convert("RGB"))
        write_overlay(pixels, labels, label_set, output / f"{kind}-overlay.png")
        share, confidence = answer["class_share"][i], answer["class_confidence"][i]
        print(f"{kind}, {labels.shape[1]}×{labels.shape[0]}: class, share of the pixels, mean confidence")
        for k in np.argsort(-share)[:6]:
            if share[k] > 0:
                print(f"  {label_set.names[k]:20} {share[k]:6.1%} {confidence[k]:6.1%}")


def step(number: int, title: str) -> None:
    """Print a heading."""
    print(f"\n[{number}/{STEPS}] {title}", flush=True)


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
