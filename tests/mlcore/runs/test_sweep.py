"""No run says "running" for ever, and none waits without a message."""

from datetime import timedelta

import pytest
from django.utils import timezone

from mlcore.models import Run, Worker
from mlcore.runs import queue, state
from mlcore.runs.health import queue_state, workers_alive
from mlcore.runs.sweep import sweep
from tests.mlcore.runs.world import start


@pytest.fixture
def sent(monkeypatch) -> list[str]:
    """Run UUIDs in the order in which messages were sent."""
    messages: list[str] = []
    monkeypatch.setattr(queue.current_app, "send_task", lambda name, args, **how: messages.append(args[0]))
    return messages


def ago(seconds: float):
    return timezone.now() - timedelta(seconds=seconds)


def lose(run: Run) -> None:
    """A worker takes the run and is never heard of again."""
    assert state.claim(run.uuid, "gone:1") is not None
    Run.objects.filter(pk=run.pk).update(heartbeat=ago(61))


def test_a_lost_run_is_queued_twice_again_and_then_fails(world, sent) -> None:
    run = start(world)
    for attempt in (1, 2):
        lose(run)
        swept = sweep()
        run.refresh_from_db()
        assert swept.requeued == ("a run",)
        assert (run.state, run.attempt, run.attempts) == ("queued", None, attempt)
    assert sent == [str(run.uuid)] * 2
    lose(run)
    assert sweep().failed == ("a run",)
    run.refresh_from_db()
    assert run.state == "failed"
    assert run.reason == "Its worker was lost 3 times (last gone:1); that worker's log may say why."
    assert not sweep()
    assert run.log.count("was lost; the run starts again from its beginning") == 2


def test_a_run_that_beats_is_left_alone(world, sent) -> None:
    run = start(world)
    state.claim(run.uuid, "host:1")
    Run.objects.update(heartbeat=ago(50))
    assert not sweep()
    run.refresh_from_db()
    assert run.state == "claimed"


def test_a_lost_run_that_was_to_be_cancelled_is_cancelled(world, sent) -> None:
    run = start(world)
    lose(run)
    Run.objects.update(cancel_requested=True)
    assert sweep().cancelled == ("a run",)
    run.refresh_from_db()
    assert (run.state, sent) == ("cancelled", [])


def test_a_lost_message_is_sent_again_to_an_idle_worker_only(world, sent) -> None:
    first, second = start(world), start(world)
    Run.objects.update(created=ago(30))
    assert not sweep()  # nobody there to read it
    Worker.objects.create(name="host:9", queues="default", seen=timezone.now())
    assert not sweep()  # nobody of the right queue
    Worker.objects.create(name="host:1", queues="training", seen=timezone.now())
    assert sweep().resent == ("a run",)
    assert sent == [str(first.uuid)]  # one idle worker, one message: the oldest
    sweep()
    assert sent == [str(first.uuid), str(second.uuid)]
    assert not sweep()  # each was sent just now
    state.claim(first.uuid, "host:1")
    Run.objects.filter(pk=second.pk).update(heartbeat=ago(30))
    assert not sweep()  # the worker is busy: waiting is in order


def test_a_fresh_run_is_not_sent_twice(world, sent) -> None:
    start(world)
    Worker.objects.create(name="host:1", queues="training", seen=timezone.now())
    assert not sweep()


def test_health_says_when_nothing_would_happen(world, sent) -> None:
    assert not queue_state().stuck
    start(world)
    found = queue_state()
    assert (found.waiting, found.workers) == (1, 0)
    assert "No training worker is alive" in found.sentence
    Worker.objects.create(name="host:1", queues="default,training", seen=timezone.now())
    Worker.objects.create(name="host:2", queues="training", seen=ago(61))
    assert [worker.name for worker in workers_alive()] == ["host:1"]
    assert not queue_state().stuck
    Run.objects.update(created=ago(180))
    assert "a worker is idle" in queue_state().sentence
