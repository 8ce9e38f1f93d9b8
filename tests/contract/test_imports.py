"""What a web process must not load."""

import subprocess
import sys


def test_pages_do_not_load_what_draws_figures() -> None:
    """astropy.visualization imports matplotlib's colours by itself; drawing would take far more than these."""
    code = (
        "import django, sys; django.setup(); from django.urls import get_resolver; get_resolver().url_patterns; "
        "import starsieve.catalogues.views; print('matplotlib.figure' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "False"
