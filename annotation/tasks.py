"""What beat asks of the study half."""

from celery import shared_task

from annotation.assignment import release_expired
from annotation.completion import time_out_overdue


@shared_task
def tidy_leases() -> int:
    """Give back claims whose lease ran out, and end participations whose time did. Claims count both as free
    themselves; this only tidies, and shows the researcher who is gone."""
    return release_expired() + time_out_overdue()
