"""`python -m torch_ref`."""

from torch_ref.cli import app

app(prog_name="python -m torch_ref")
