"""The researchers' home: what runs, what waits, the next step; a red line when nothing would happen."""

from collections import namedtuple
from pathlib import Path

import pytest
from django.urls import reverse
from django.utils import timezone

from annotation.models import Answer, Study
from harmony import dashboard
from harmony.next_step import next_steps
from harmony.researcher import is_researcher
from mlcore.models import Classifier, ExplanationSet, Partition, Run, SupervisionSet, Worker
from mlcore.runs import health, state
from tests.annotation.admin.world import make_loop, owned_world
from tests.annotation.factories import researcher
from tests.mlcore.runs.world import start

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _a_disk(settings):
    """As after an installation: the storage's folder exists."""
    Path(settings.MEDIA_ROOT).mkdir(parents=True, exist_ok=True)


def sentences() -> list[str]:
    return [alarm.sentence for alarm in dashboard.alarms()]


def test_without_a_worker_a_red_line_says_so(client):
    assert any("No worker lives" in sentence for sentence in sentences())
    Worker.objects.create(name="here:1", queues="default,training", seen=timezone.now())
    assert sentences() == []
    client.force_login(researcher())
    assert 'role="alert"' not in client.get(reverse("admin:index")).content.decode()


def test_runs_that_wait_without_a_training_worker_raise_the_alarm():
    Worker.objects.create(name="here:1", queues="default", seen=timezone.now())
    rita = researcher()
    assert sentences() == []
    start(owned_world(rita), owner=rita)
    assert any("No training worker" in sentence for sentence in sentences())


def test_a_full_disk_and_a_broker_that_is_gone_raise_the_alarm(monkeypatch, settings):
    usage = namedtuple("usage", "total used free")
    Worker.objects.create(name="here:1", queues="default,training", seen=timezone.now())
    monkeypatch.setattr(health.shutil, "disk_usage", lambda _: usage(10**12, 10**12 - 10**8, 10**8))
    settings.MEDIA_ROOT = "/"
    assert any("disk is nearly full" in sentence for sentence in sentences())

    def gone() -> None:
        raise OSError("connection refused")

    monkeypatch.setattr(dashboard, "check_broker", gone)
    assert any("broker does not answer" in sentence for sentence in sentences())


def test_running_shows_progress_and_the_newest_values():
    rita = researcher()
    run = start(owned_world(rita), owner=rita)
    claim = state.claim(run.uuid, "here:1")
    state.begin(claim, total_steps=10, versions={}, device="cpu")
    for step in (1, 2):
        run.metrics.create(step=step, epoch=1, part="train", name="loss", value=3 - step)
        run.metrics.create(step=step, epoch=1, part="validation", name="accuracy", value=step / 4)
    (row,) = dashboard.running(rita)
    assert row["run"] == run
    assert [(line["name"], line["value"]) for line in row["latest"]] == [("loss", 1.0), ("accuracy", 0.5)]
    assert dashboard.running(researcher()) == []


def test_waiting_counts_answers_and_tells_the_end():
    loop = make_loop()
    rows = {row["study"].name: row for row in dashboard.waiting(loop.owner)}
    row = rows[loop.ratings.name]
    assert (row["study"].n_answers, row["wanted"], row["left"]) == (3, 3, 0)
    assert row["per_day"] == pytest.approx(3)
    Study.objects.filter(pk=loop.ratings.pk).update(answers_per_trial=4)
    row = {row["study"].name: row for row in dashboard.waiting(loop.owner)}[loop.ratings.name]
    assert row["left"] == 9
    # Nine answers at three a day: three days.
    assert (row["ends"] - timezone.now()).total_seconds() / 86_400 == pytest.approx(3, abs=0.01)


def test_the_next_step_walks_the_loop(django_assert_num_queries):
    loop = make_loop()
    assert is_researcher(loop.owner)  # asked of the database once

    def verb() -> str:
        with django_assert_num_queries(1):
            steps = next_steps(loop.owner)
        return steps[0].verb if steps else ""

    assert verb() == "Before and after"
    Run.objects.filter(pk=loop.phase2.pk).delete()
    Run.objects.filter(pk=loop.control.pk).delete()
    SupervisionSet.objects.all().delete()
    assert verb() == "Start phase 2"
    Study.objects.filter(pk=loop.ratings.pk).update(state="draft")
    assert verb() == "Open the draft"
    Answer.objects.all().delete()
    Study.objects.all().delete()
    assert verb() == "Publish a study"
    ExplanationSet.objects.all().delete()
    assert verb() == "Explain"
    open_run = start(loop.world, owner=loop.owner)
    assert verb() == ""  # a run is at work
    open_run.delete()
    Classifier.objects.all().update(parent=None)
    Run.objects.all().delete()
    Classifier.objects.all().delete()
    assert verb() == "Train"
    Partition.objects.all().delete()
    assert verb() == "Make a partition"


def test_home_costs_the_same_for_one_loop_and_three(client, django_assert_max_num_queries):
    rita = researcher()
    Worker.objects.create(name="here:1", queues="default,training", seen=timezone.now())
    client.force_login(rita)
    for number in range(3):
        make_loop(rita, f"set {number}")
        with django_assert_max_num_queries(12):
            assert client.get(reverse("admin:index")).status_code == 200
