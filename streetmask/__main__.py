"""``python -m streetmask`` is the command ``streetmask``."""

import sys

from streetmask.cli import main

if __name__ == "__main__":
    sys.exit(main())
