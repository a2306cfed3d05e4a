"""Training by the paper's recipe: from a folder of photographs and masks to a published checkpoint.

    datasets ─► batches (augmentation) ─► fit (optimizer, schedule) ─► checkpoint folder, model card
                                             │
                                  state, log, pictures

Start reading at `run.py`. The command: `tf-segformer train`; the page: `docs/training.md`.
"""
