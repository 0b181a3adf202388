"""The parts of scripts/bench: its data, its measurements, and its report."""

import sys


def log(text):
    """Prints progress to standard error."""
    print(text, file=sys.stderr, flush=True)
