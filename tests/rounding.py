"""What tests expect of bfloat16 on the processor that they run on."""

from tf_segformer.processor import bfloat16_obstacle

# oneDNN rounds once where it joins steps. Where it does not compute in bfloat16, TensorFlow's own kernels do:
# they round after each step, and long sums in between, where the processor's caches divide them. Measured: up
# to 2.0 times as far off.
ROUNDINGS = 1 if bfloat16_obstacle() is None else 4
