"""Two sides without a framework: labels and logits are computed from the photograph's own pixels.

As a program it runs `evaluate` on a dataset, slowly enough to be killed:

    python -m tests.parity.made_up_sides DATASET STATE
"""

import sys
import time
from pathlib import Path

import numpy as np

from parity.annotations import check_dataset
from parity.datasets import Labels, find_dataset
from parity.evaluation import evaluate
from parity.label_runners import Answer, Side, picture_of
from parity.tally import Tally
from parity.thresholds import Thresholds
from parity.verdict import judge

CLASSES = 11
LABELS = Labels(CLASSES, reduce_zero_label=True)


def logits_of(content):
    """float32 (H, W, 11), at the photograph's own size, so that labels are their argmax."""
    pixels = picture_of(content).astype(np.float32) / 255
    weights = np.random.default_rng(3).normal(size=(3, CLASSES)).astype(np.float32)
    return np.stack([(pixels * weights[:, k]).sum(-1) for k in range(CLASSES)], axis=-1)


def side(name="torch_ref", change=lambda logits: logits, labels=lambda labels: labels, gives_logits=True):
    def segment(content, photograph):
        logits = change(logits_of(content))
        return Answer(labels(logits.argmax(-1).astype(np.int32)), logits if gives_logits else None)

    return Side(name, {"made": "up"}, (), gives_logits, segment)


def run(folder, state=None, candidate=None, reference=None, settings=None, thresholds=None, **options):
    dataset = find_dataset(folder)
    settings = {"data_sha256": check_dataset(dataset, LABELS)} | (settings or {})
    tally = Tally.empty(settings, LABELS)
    if state is not None:
        tally.resume(state)
    sides = (reference or side(), candidate or side("tf_segformer"))
    evaluate(dataset.pairs, LABELS, *sides, tally, state=state, **options)
    return tally, judge(tally, thresholds or Thresholds())


if __name__ == "__main__":
    print("running", flush=True)
    run(Path(sys.argv[1]), Path(sys.argv[2]), save_every=2, tick=lambda tally: time.sleep(0.02))
