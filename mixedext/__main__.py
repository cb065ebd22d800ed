"""``python -m mixedext``: see cli.py."""

import sys

from mixedext.cli import main

if __name__ == "__main__":
    sys.exit(main())
