"""What does it cost to decode one file of each format, isolated from the others of its batch?

    python -m benchmarks.formats

The bundled photograph, saved in every format, is decoded by `isolated_decoding.decode_batch` from a
SavedModel in a Session, one file a batch, as a server would. Wall time and processor time are medians in
milliseconds; the last column is the processor time's ratio to that of the JPEG file. Also a few files that
were made to cost much.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
import zlib
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

PHOTOGRAPH = Path(__file__).parent.parent / "tests/fixtures/photos/china.jpg"
MAX_PIXELS = 50_000_000


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    """Return the image as a file's bytes."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def photographs() -> dict[str, bytes]:
    """Return the photograph in every format."""
    image = Image.open(PHOTOGRAPH).convert("RGB")
    palette, large = image.quantize(256), image.resize((4000, 3000), Image.Resampling.BICUBIC)
    deep = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 3)
    return {
        "JPEG": saved(image, "JPEG", quality=90),
        "JPEG, CMYK": saved(image.convert("CMYK"), "JPEG", quality=90),
        "PNG": saved(image, "PNG"),
        "PNG, 16 bits gray": saved(deep, "PNG"),
        "GIF": saved(palette, "GIF"),
        "BMP": saved(image, "BMP"),
        "BMP, palette": saved(palette, "BMP"),
        "WebP": saved(image, "WEBP"),
        "JPEG, 4000 x 3000": saved(large, "JPEG", quality=90),
        "PNG, 4000 x 3000": saved(large, "PNG"),
    }


def costly() -> dict[str, bytes]:
    """Return small PNG files with much beside the pixels."""
    image, files = Image.new("RGB", (8, 8)), {}
    for count in (100, 500):
        info = PngImagePlugin.PngInfo()
        for _ in range(count):
            info.add(b"zTXt", b"x\0\0" + zlib.compress(bytes(4 << 20), 9))
        files[f"PNG, {count} texts of 4 MB"] = saved(image, "PNG", pnginfo=info)
    return files


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=15, help="default: %(default)s")
    repetitions = parser.parse_args().repetitions
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    from tf_segformer.isolated_decoding import decode_batch

    signature = tf.function(
        lambda files: {"decoded": decode_batch(files, max_pixels=MAX_PIXELS).is_decoded},
        input_signature=[tf.TensorSpec([None], tf.string, name="files")],
        autograph=False,
    )
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        tf.saved_model.save(tf.Module(), folder, signatures=signature)
        session = stack.enter_context(tf.compat.v1.Session(graph=tf.Graph()))
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], folder)
        tensors = loaded.signature_def["serving_default"]
        files, decoded = tensors.inputs["files"].name, tensors.outputs["decoded"].name

        def run(file: bytes) -> tuple[float, float]:
            wall, processor = time.perf_counter(), time.process_time()
            session.run(decoded, {files: [file]})
            return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor)

        print("| file | bytes | wall, ms | processor, ms | ratio |\n|---|---:|---:|---:|---:|")
        jpeg = 0.0
        for name, file in {**photographs(), **costly()}.items():
            run(file)
            wall, processor = (
                statistics.median(column)
                for column in zip(*(run(file) for _ in range(repetitions)), strict=True)
            )
            jpeg = jpeg or processor
            row = (name, len(file), f"{wall:.1f}", f"{processor:.1f}", f"{processor / jpeg:.1f}")
            print("|", " | ".join(map(str, row)), "|", flush=True)


if __name__ == "__main__":
    main()
