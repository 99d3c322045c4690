"""The message that tells a worker of a run. Losing it costs time, never the run: the sweep sends it again."""

import logging

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

from mlcore.models import Run

logger = logging.getLogger(__name__)

TASK = "mlcore.tasks.perform_run"
QUEUE = "training"


def send(run: Run) -> bool:
    """Put the run's message into the queue; False (and a line in the log) where the broker does not answer."""
    try:
        current_app.send_task(TASK, args=[str(run.uuid)], queue=QUEUE, retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("Run %s waits without a message, the broker does not answer: %s", run.uuid, error)
        return False
    return True


def send_on_commit(run: Run) -> None:
    """Send once the row can be seen by others."""
    transaction.on_commit(lambda: send(run))
