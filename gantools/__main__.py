"""`python -m gantools`: the command line of `gantools.cli`."""

import sys

from gantools.cli import main

if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # an arrow that a terminal does not know must not cost a training
    raise SystemExit(main())
