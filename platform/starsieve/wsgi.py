"""WSGI entry point: `gunicorn starsieve.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "starsieve.settings")

application = get_wsgi_application()
