"""What beat asks of the study half."""

from celery import shared_task

from annotation.assignment import release_expired
from annotation.completion import time_out_overdue


@shared_task
def tidy_leases() -> int:
    """Give back claims whose lease ran out, and end participations whose time did. Claims count both as free
    themselves; this only tidies, and shows the researcher who is gone."""
    return release_expired() + time_out_overdue()


@shared_task
def compute_analysis(uuid: str) -> None:
    """Compute the figures of a study that a page asked for; the row says what became of it."""
    from annotation.analysis import perform

    perform(uuid)


@shared_task
def sweep_analyses() -> int:
    """Heal analyses whose message or worker was lost."""
    from annotation.analysis import sweep

    return sweep()
