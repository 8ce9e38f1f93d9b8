"""Entry point of ``python -m aggregation``."""

import sys

from aggregation.cli import main

if __name__ == "__main__":
    sys.exit(main())
