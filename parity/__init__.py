"""Proof, number by number, that the TensorFlow model equals the PyTorch reference.

    python -m parity run MODEL
    python -m parity miou MODEL --data ADE20K

Reading order: `pipeline.py` (one whole run), `compare.py` (the comparator), `tolerances.py` (how large an
error may be, and why), `runners.py` and `label_runners.py` (the adapters: only they touch a framework).
On a dataset: `miou_pipeline.py`, `evaluation.py`, `verdict.py`, `miou.py` (the confusion matrix). For
other projects' tests: `assertions.py`.
"""
