"""What is made once for all workers of a test run, however many need it."""

import fcntl
import os


def made_once(tmp_path_factory, name, make):
    """Return a folder that `make` has filled, in this process or in another worker's.

    Args:
        tmp_path_factory: pytest's.
        name: of the folder, the same for all who share it. They must not change what is in it.
        make: called with the folder, which is there and empty; after an error the next one tries again.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # each worker's folder is in the run's own
    folder, done = root / name, root / f"{name}.done"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            done.touch()
    return folder
