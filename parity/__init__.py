"""Proof, number by number, that the TensorFlow model equals the PyTorch reference.

    python -m parity run MODEL

Reading order: `pipeline.py` (one whole run), `compare.py` (the comparator), `tolerances.py` (how large an
error may be, and why), `runners.py` (the adapters: the only place that touches a framework).
"""
