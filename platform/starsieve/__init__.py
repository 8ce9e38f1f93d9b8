"""Starsieve: citizen science for astronomy, from stamps to a calibrated catalogue."""

from starsieve.celery import app as celery_app

__all__ = ["celery_app"]
