"""Runs performed by the real training process, from claim to result."""

import hashlib
import os
import signal
import threading
from pathlib import Path

import psycopg2
import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from mlcore.models import Classifier, Prediction, Run, RunMetric, Score
from mlcore.runs import control, intake, outputs, state
from mlcore.runs.explanation_sets import sets_of
from mlcore.runs.job import build, folder_of
from mlcore.runs.perform import perform
from mlcore.runs.sweep import sweep
from tests.mlcore.runs.interrupted import at_event, cancelled_at, child_of_this_process, killed_at
from tests.mlcore.runs.world import (
    REFERENCE,
    World,
    add_boxes,
    make_classifier,
    make_world,
    start,
    weights_hash,
    weights_of,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def classifier(world, reference) -> Classifier:
    made = make_classifier(world, weights=reference)
    made.sha256 = hashlib.sha256(reference).hexdigest()
    made.save()
    return made


def test_a_run_trains_and_leaves_a_classifier(world) -> None:
    trained = perform(start(world, seed=3).uuid, worker_name="here:1")
    assert trained.state == "succeeded", trained.reason + trained.log
    made = trained.made_classifier
    assert made.sha256 == weights_hash(trained) == trained.result["weights_sha256"]
    assert (made.architecture, made.classes, made.parent) == ("sixconv", ["ellipse", "triangle"], None)
    assert made.transform == {"image_size": 32, "resize": "none", "normalise": "imagenet"}
    # 12 images in batches of 4, two epochs: the steps of the curve are 1 … 6, each once.
    losses = RunMetric.objects.filter(run=trained, part="train", name="loss")
    assert list(losses.values_list("step", flat=True)) == [1, 2, 3, 4, 5, 6]
    assert (trained.step, trained.total_steps, trained.device) == (6, 6, "cpu")
    assert trained.versions["torch"]
    assert Prediction.objects.filter(classifier=made).count() == 6
    accuracy = Score.objects.get(run=trained, part="validation", metric="accuracy")
    right = sum(
        Prediction.objects.get(classifier=made, image=image).label == image.labels.get().index
        for image in world.part("validation")
    )
    assert (accuracy.value, accuracy.n, accuracy.classifier) == (pytest.approx(right / 6), 6, made)
    assert not folder_of(trained).exists()
    assert "Attempt 1 on here:1." in trained.log
    REFERENCE[:] = [weights_of(trained)]


def test_what_decides_a_map_decides_its_set(world) -> None:
    def made(**changes):
        (found,) = sets_of(start(world, "explain", classifier=changes.pop("classifier", one), recipe=changes))
        return found

    one, other = make_classifier(world), make_classifier(world)
    assert made() == made(part="test", batch_size=3)
    different = [made(), made(target="true"), made(layer="features"), made(image_size=64), made(classifier=other)]
    assert len({found.hash for found in different}) == 5
    # A class that is not asked for decides nothing.
    assert made(target_class=1) == made()
    assert made(target="given", target_class=1) != made(target="given", target_class=0)


def test_boxes_supervise_where_they_are(world) -> None:
    add_boxes(world.part("train")[:3])
    run = start(world, recipe={"objective": "energy", "supervision_source": "boxes"})
    items = build(run, state.claim(run.uuid, "here:1"))["parts"]["train"]
    assert [item["w_a"] for item in items] == [1.0] * 3 + [0.0] * 9
    assert items[0]["boxes"] == [[4, 4, 20, 24]]


def test_images_that_are_gone_are_named(world) -> None:
    run = start(world)
    image = world.part("train")[0]
    os.unlink(image.file.path)
    failed = perform(run.uuid, worker_name="here:1")
    assert failed.state == "failed"
    assert failed.reason == f"The file {Path(image.file.name).name} does not exist any more."
    other = start(world)
    image.delete()
    assert "was deleted since" in perform(other.uuid, worker_name="here:1").reason
    changed = start(world)
    changed.manifest["train"].pop()
    changed.save()
    assert "was changed after it was frozen" in perform(changed.uuid, worker_name="here:1").reason


def test_a_run_that_is_held_or_has_ended_is_left_alone(world) -> None:
    run = start(world)
    state.claim(run.uuid, "elsewhere:1")
    before = Run.objects.filter(pk=run.pk).values().get()
    perform(run.uuid, worker_name="here:1")
    assert Run.objects.filter(pk=run.pk).values().get() == before


def test_cancel_leaves_a_checkpoint_and_resume_ends_like_an_uninterrupted_run(world, reference) -> None:
    run = start(world, seed=3)
    cancelled = perform(run.uuid, worker_name="here:1", on_event=cancelled_at("checkpoint", run))
    assert cancelled.state == "cancelled", cancelled.log
    assert cancelled.reason == "Cancelled. It can be resumed from its checkpoint."
    assert Path(cancelled.checkpoint).is_file()
    assert not Classifier.objects.filter(run=run).exists()
    resumed = perform(control.resume(run, None, enqueue=False).uuid, worker_name="here:1")
    assert resumed.state == "succeeded", resumed.reason + resumed.log
    assert "Resumed after step" in resumed.log
    assert weights_hash(resumed) == hashlib.sha256(reference).hexdigest()


def test_a_killed_process_says_so_and_resumes_to_the_same_weights(world, reference) -> None:
    run = start(world, seed=3)
    killed = perform(run.uuid, worker_name="here:1", on_event=killed_at("checkpoint"))
    assert killed.state == "failed"
    assert killed.reason == "The training process was ended by the system (signal 9), perhaps for want of memory."
    resumed = perform(control.resume(run, None, enqueue=False).uuid, worker_name="here:1")
    assert resumed.state == "succeeded", resumed.reason + resumed.log
    assert "Resumed after step" in resumed.log  # not merely done once more
    assert weights_hash(resumed) == hashlib.sha256(reference).hexdigest()
    steps = list(resumed.metrics.filter(part="train", name="loss").values_list("step", flat=True))
    assert steps == [1, 2, 3, 4, 5, 6]


@pytest.mark.django_db(transaction=True)
def test_a_frozen_process_has_a_heartbeat_and_is_ended_when_it_does_not_stop(settings) -> None:
    world = make_world()
    settings.RUN_GRACE_SECONDS = 0.5
    run = start(world, recipe={"epochs": 1000})
    frozen: list = []

    def ask() -> None:
        try:
            control.cancel(run, None)
        finally:
            connection.close()

    def freeze(event: dict) -> None:
        os.kill(child_of_this_process(), signal.SIGSTOP)  # it can neither speak nor see a request
        frozen.append(timezone.now())
        threading.Timer(1.0, ask).start()

    ended = perform(run.uuid, worker_name="here:1", on_event=at_event("checkpoint", freeze))
    assert ended.state == "cancelled"
    assert "did not stop in time" in ended.log
    # The last beat lies after the silence of a second and the half second of grace.
    assert 1.4 < (ended.heartbeat - frozen[0]).total_seconds() < 10
    with pytest.raises(AssertionError, match="no training process"):
        child_of_this_process()


def test_a_worker_that_wakes_up_late_changes_nothing(world, reference) -> None:
    """Taken away by the sweep in the middle, finished by another: the first one's process ends, its words too."""
    run = start(world, seed=3)
    finished: list[Run] = []

    def lose(event: dict) -> None:
        Run.objects.filter(pk=run.pk).update(heartbeat=timezone.now() - timezone.timedelta(seconds=61))
        assert sweep().requeued
        finished.append(perform(run.uuid, worker_name="other:2"))

    perform(run.uuid, worker_name="late:1", on_event=at_event("checkpoint", lose))
    now = Run.objects.get(pk=run.pk)
    assert finished[0].state == now.state == "succeeded"
    assert (now.worker, now.ended) == ("other:2", finished[0].ended)
    assert Classifier.objects.filter(run=run).count() == 1
    assert "Resumed after step" in now.log
    assert weights_hash(now) == hashlib.sha256(reference).hexdigest()
    with pytest.raises(AssertionError, match="no training process"):
        child_of_this_process()


def test_ctrl_c_cancels_in_order(world) -> None:
    run = start(world, recipe={"epochs": 1000})

    def press(event: dict) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    # A shell starts background jobs with the signal ignored, and that would be inherited.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            perform(run.uuid, worker_name="here:1", on_event=at_event("checkpoint", press))
    finally:
        signal.signal(signal.SIGINT, before)
    run.refresh_from_db()
    assert run.state == "cancelled"
    assert run.reason.startswith("Cancelled from the keyboard.")


def test_a_full_disk_at_the_end_fails_with_a_reason_and_leaves_no_half_classifier(world, monkeypatch) -> None:
    def full(self, run, weights) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs.NewClassifier, "__init__", full)
    run = start(world)
    with pytest.raises(OSError):
        perform(run.uuid, worker_name="here:1")
    run.refresh_from_db()
    assert run.state == "failed"
    assert "No space left on device" in run.reason
    assert not Classifier.objects.exists()


def end_our_connection() -> None:
    """What a restarted server does to the connections that it had."""
    found = connection.settings_dict
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        ours = cursor.fetchone()[0]
    login = {"host": found["HOST"], "port": found["PORT"] or 5432, "user": found["USER"], "password": found["PASSWORD"]}
    other = psycopg2.connect(dbname=found["NAME"], **login)
    with other, other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [ours])
    other.close()


@pytest.mark.django_db(transaction=True)
def test_a_dropped_connection_costs_nothing(monkeypatch) -> None:
    world: World = make_world()
    run = start(world, seed=3)
    written = intake.Intake.write
    failures: list[int] = []

    def drop(self) -> bool:
        if len(failures) < 3:
            failures.append(1)
            if connection.vendor == "postgresql":
                end_our_connection()  # what follows fails by itself
            else:
                raise OperationalError("disk I/O error")
        return written(self)

    monkeypatch.setattr(intake.Intake, "write", drop)
    done = perform(run.uuid, worker_name="here:1")
    assert len(failures) == 3
    assert done.state == "succeeded", done.reason
    assert RunMetric.objects.filter(run=run, part="train", name="loss").count() == 6


# What connects two processes on a CPU aborts by itself once in many hundred times; the run then says so and can go on.
