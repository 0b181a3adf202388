"""The parts of scripts/bench: its data, its measurements, and its report."""

import sys

from testbed import ROOT

BENCHES = ROOT / "benches"


def log(text):
    """Prints progress to standard error."""
    print(text, file=sys.stderr, flush=True)
