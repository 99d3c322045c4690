"""An attention module by real processes: a worker is killed in mid-run, the next one ends it with the same weights."""

import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from django.conf import settings
from django.utils import timezone

from mlcore.models import Run, Worker
from mlcore.runs.perform import perform
from mlcore.training.classifiers import build
from mlcore.training.weights import save_weights
from tests.mlcore.runs.station import Station, fresh, processes_with, wait_for
from tests.mlcore.runs.test_attention_runs import TINY
from tests.mlcore.runs.world import make_classifier, make_world, start

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
LONG = TINY | {"epochs": 60}


@pytest.fixture
def station(tmp_path):
    made = Station(tmp_path, settings.BROKER_URL)
    yield made
    made.end()


def test_a_killed_worker_costs_an_attention_nothing_but_time(tmp_path: Path, station: Station) -> None:
    world = make_world()
    torch.manual_seed(4)
    weights = save_weights(build("sixconv", 2), tmp_path / "original.safetensors").read_bytes()
    classifier = make_classifier(world, weights=weights)
    run = start(world, classifier=classifier, recipe=LONG, seed=3, name="long")
    worker = station.worker()
    wait_for(Worker.objects.exists)
    Run.objects.update(created=timezone.now() - timedelta(seconds=30))
    station.manage("sweep_runs")
    wait_for(lambda: fresh(run).checkpoint and fresh(run).state == "running")
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    wait_for(lambda: not processes_with(str(Path(settings.RUNS_DIR) / str(run.uuid))), 30)
    Run.objects.update(heartbeat=timezone.now() - timedelta(seconds=61))
    Worker.objects.all().delete()
    assert "requeued: long" in station.manage("sweep_runs").stdout
    station.worker()
    done = wait_for(lambda: fresh(run).state in Run.ENDED and fresh(run))
    assert done.state == "succeeded", done.reason + done.log + station.said
    assert "Resumed after step" in done.log
    whole = perform(start(world, classifier=classifier, recipe=LONG, seed=3, name="whole").uuid, worker_name="here:1")
    assert whole.state == "succeeded", whole.reason
    assert done.made_attention.sha256 == whole.made_attention.sha256
