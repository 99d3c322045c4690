"""What beat asks of the study half."""

from celery import shared_task

from annotation.assignment import release_expired


@shared_task
def tidy_leases() -> int:
    """Give back claims whose lease ran out. Claims count those as free themselves; this only tidies."""
    return release_expired()
