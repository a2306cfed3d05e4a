"""What holds for every test, and for the processes that tests start."""

import os

# Before torch is imported. Its threads wait for each other in busy loops, which costs more than they
# save on inputs of 64 pixels, and many times as much once another process, such as a second test
# worker, wants the same cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
