"""A process that saves one model over another, again and again, is killed with SIGKILL at random moments."""

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tf_segformer import TFSegformerForSemanticSegmentation

SEGMENTATION = Path(__file__).parents[1] / "fixtures" / "segmentation_tiny"
KILLS = 8
CHILD = """
import sys
import numpy as np
from tf_segformer import TFSegformerForSemanticSegmentation
models = []
for number in (1, 2):
    model = TFSegformerForSemanticSegmentation.from_pretrained(sys.argv[1], semantic_loss_ignore_index=number)
    for weight in model.weights:
        weight.assign(np.full(weight.shape, number))
    models.append(model)
print("ready", flush=True)
while True:
    for arguments in ({}, {"max_shard_size": "60KB"}, {"max_shard_size": "20KB"}):
        for model in models:
            model.save_pretrained(sys.argv[2], **arguments)
"""


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    folder = tmp_path / "model"
    seen = set()
    moments = random.Random(0)
    for _ in range(KILLS):
        command = [sys.executable, "-c", CHILD, SEGMENTATION, folder]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.2, 1))
        process.kill()
        process.wait()
        process.stdout.close()
        model = TFSegformerForSemanticSegmentation.from_pretrained(folder)
        number = model.config.semantic_loss_ignore_index
        seen.add(number)
        for weight in model.weights:
            np.testing.assert_array_equal(weight, np.full(weight.shape, number), err_msg=weight.path)
    assert seen <= {1, 2}
