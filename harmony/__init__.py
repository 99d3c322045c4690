"""Wiring: settings, URLs, the queue and health checks. Nothing of the domain lives here."""

from harmony.celery import app as celery_app

__all__ = ["celery_app"]
