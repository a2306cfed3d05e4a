"""What tests expect of bfloat16 on the processor that they run on."""

import pytest

from tf_segformer.processor import bfloat16_obstacle

OBSTACLE = bfloat16_obstacle()
needs_onednn_in_bfloat16 = pytest.mark.skipif(OBSTACLE is not None, reason=str(OBSTACLE))

# oneDNN rounds once where it joins steps. Where it does not compute in bfloat16, TensorFlow's own kernels do:
# they round after each step, and long sums in between, where the processor's caches divide them. Measured: up
# to 2.0 times as far off.
ROUNDINGS = 1 if OBSTACLE is None else 4
