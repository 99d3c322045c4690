"""The Celery application: queues `default` (imports, rendering, exports, statistics), `interactive` (short questions of
a page to a classifier) and `training` (runs)."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "harmony.settings")

app = Celery("harmony")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
