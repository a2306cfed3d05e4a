"""`python -m tf_segformer`, the same as the command `tf-segformer`."""

from tf_segformer.cli import app

app(prog_name="tf-segformer")
