"""Settings of the test run: the product's own, with everything it writes in a folder that goes with the run."""

import os
import tempfile

os.environ.setdefault("STARSIEVE_VAR", tempfile.mkdtemp(prefix="starsieve-tests-"))
os.environ.setdefault("SECRET_KEY", "only-for-tests-" + "x" * 40)
os.environ.setdefault("HTTPS", "0")
os.environ.setdefault("API_RATE", "100000/min")
os.environ.setdefault("LOG_LEVEL", "WARNING")

from starsieve.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # speed only; the product's hasher is Django's
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
CELERY_BROKER_URL = "memory://"
os.makedirs(STATIC_ROOT, exist_ok=True)  # whitenoise warns when it is missing
