"""The Celery application. Tasks take row ids, claim their row by a conditional update and are safe to run twice."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "starsieve.settings")

app = Celery("starsieve")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
