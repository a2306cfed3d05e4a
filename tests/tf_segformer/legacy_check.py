"""Runs in the legacy environment: loads folders with transformers 4's TensorFlow classes, and writes its own.

    LEGACY_PYTHON legacy_check.py CLASS SOURCE PIXELS.npy OUTPUT FOLDER...

Prints a JSON object: for each folder the largest difference of the logits to those of SOURCE, and what its
loading reported; and writes SOURCE's model into OUTPUT in each of the legacy formats.
"""

import json
import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import transformers


def main() -> None:
    name, source, pixels_file, output, *folders = sys.argv[1:]
    assert transformers.__version__ == "4.57.6", transformers.__version__
    model_class = getattr(transformers, name)
    pixels = np.load(pixels_file)
    model = model_class.from_pretrained(source)
    expected = model(pixels)[0].numpy()
    report = {}
    for folder in folders:
        loaded, info = model_class.from_pretrained(folder, output_loading_info=True)
        difference = float(np.abs(loaded(pixels)[0].numpy() - expected).max())
        report[folder] = {"difference": difference, **{key: list(value) for key, value in info.items()}}
    whole = [folder for folder in folders if Path(folder, "tf_model.h5").exists()]
    for folder in whole:  # Keras 2's own loader goes by the order of the weights
        fresh = model_class(model.config)
        fresh.build_in_name_scope()
        fresh.load_weights(str(Path(folder, "tf_model.h5")))
        report[folder]["load_weights"] = float(np.abs(fresh(pixels)[0].numpy() - expected).max())
    model.save_pretrained(f"{output}/h5")
    model.save_pretrained(f"{output}/h5 sharded", max_shard_size="60KB")
    model.save_pretrained(f"{output}/safetensors", safe_serialization=True)
    model.save_pretrained(f"{output}/safetensors sharded", safe_serialization=True, max_shard_size="60KB")
    print(json.dumps(report))


main()
