"""A model in a TF1 Session, in a process that imports only TensorFlow; started by `session`.

    python session_process.py CHECKER VERSION_DIR CONCURRENT_RUNS THREADS

CHECKER is the path of `serving/session_check.py`. Requests come on the standard input and answers go to
what was the standard output, as pickles, each behind its length. Several requests run at once, as on a
server, so answers may come in another order.
"""

from __future__ import annotations

import importlib
import os
import pickle
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOREIGN = ("tf_segformer", "serving", "tests", "torch", "transformers")


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not mix with the answers
    checker, version_dir, runs, threads = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:5])
    sys.path.insert(0, str(checker.parent))
    import numpy as np

    session_check = importlib.import_module(checker.stem)

    lock = threading.Lock()

    def send(answer: dict) -> None:
        data = pickle.dumps(answer)
        with lock:
            answers.write(struct.pack("<Q", len(data)) + data)
            answers.flush()

    def run(request: dict) -> None:
        start = time.perf_counter()
        try:
            files = np.array(request["files"], object)
            outputs = model.run(request["signature"], {"image_bytes": files})
            answer = {"outputs": {name: list(value) for name, value in outputs.items()}}
        except session_check.CheckError as error:
            answer = {"error": str(error)[-1500:]}
        send({"id": request["id"], "seconds": time.perf_counter() - start, **answer})

    with session_check.ServedModel(version_dir, threads) as model, ThreadPoolExecutor(runs) as pool:
        foreign = sorted(name for name in FOREIGN if name in sys.modules)
        send({"id": "ready", "foreign_modules": foreign, "signatures": sorted(model.signatures)})
        while head := sys.stdin.buffer.read(8):
            request = pickle.loads(sys.stdin.buffer.read(struct.unpack("<Q", head)[0]))
            pool.submit(run, request).add_done_callback(lambda done: done.result())


if __name__ == "__main__":
    main()
