"""`python -m parity`."""

import sys

from parity.cli import app

if __name__ == "__main__":
    sys.exit(app())
