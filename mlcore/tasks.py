"""What workers do for this half. Each task calls one function of the domain; the signals keep the worker's row."""

import logging
from typing import Any

from celery import shared_task, signals

from mlcore.runs import workers
from mlcore.runs.devices import NoSuchDevice
from mlcore.runs.queue import send

logger = logging.getLogger(__name__)

_heart: workers.Heart | None = None


@shared_task(name="mlcore.tasks.perform_run", acks_late=False)
def perform_run(run_uuid: str) -> None:
    """Perform a queued run. Acknowledged early: the row and the sweep heal what a crash interrupts."""
    from mlcore.models import Run
    from mlcore.runs.perform import perform

    try:
        perform(run_uuid, worker_name=workers.worker_name(), slot=workers.slot)
    except Run.DoesNotExist:
        logger.warning("Run %s was deleted before it started.", run_uuid)


@shared_task(name="mlcore.tasks.sweep_runs")
def sweep_runs() -> None:
    """Heal runs whose worker or message was lost."""
    from mlcore.runs.sweep import sweep

    swept = sweep()
    if swept:
        logger.warning("Swept: %s", swept)


@shared_task(name="mlcore.tasks.answer_inquiry", acks_late=False)
def answer_inquiry(inquiry_uuid: str) -> None:
    """Answer a short question of a page. Acknowledged early: the sweep fails what a crash leaves without an answer."""
    from mlcore.runs.inquiries import answer

    answer(inquiry_uuid)


@shared_task(name="mlcore.tasks.sweep_inquiries")
def sweep_inquiries() -> None:
    """Fail questions that waited too long; delete old ones with their pictures."""
    from mlcore.runs.inquiry_sweep import sweep

    swept = sweep()
    if swept.failed:
        logger.warning("%d questions of a page had no answer in time.", swept.failed)


@signals.worker_ready.connect
def report_alive(sender: Any = None, **kwargs: Any) -> None:
    """The worker takes messages from now on."""
    global _heart
    queues = [queue.name for queue in sender.task_consumer.queues]
    try:
        workers.settle(queues)
    except (workers.DeviceTaken, NoSuchDevice) as error:
        logger.error("%s", error)
        raise SystemExit(1) from error
    _heart = workers.Heart(queues)
    _heart.start()


@signals.worker_shutting_down.connect
def hand_back_run(**kwargs: Any) -> None:
    """Sent from the signal handler, so also while the solo pool performs a run."""
    workers.stopping.set()


@signals.worker_shutdown.connect
def report_end(**kwargs: Any) -> None:
    """The worker takes no messages any more: others may have what it gave back."""
    for run in workers.handed_back:
        send(run)
    from mlcore.runs.inquiry_server import end_server

    end_server()
    if _heart is not None:
        _heart.stop()
