"""`python -m gantools`: the command line of `gantools.cli`."""

from gantools.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
