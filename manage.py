#!/usr/bin/env python
"""Starsieve's command line."""

import os
import sys
from pathlib import Path

# platform/ is a source root, not a package (docs/adr/0001-source-root-platform.md); so a checkout runs uninstalled.
sys.path.insert(1, str(Path(__file__).resolve().parent / "platform"))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "starsieve.settings")


def main() -> None:
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
