"""A report the whole way with real processes: queued by the command, its worker killed, finished by another."""

import csv

import pytest
from django.conf import settings
from django.utils import timezone

from mlcore.models import Run, Worker
from mlcore.runs.report import report_of
from mlcore.runs.report_tables import csv_text
from tests.mlcore.runs.reported import RECIPE, two_classifiers
from tests.mlcore.runs.station import Station, fresh, wait_for
from tests.mlcore.runs.world import make_world

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def station(tmp_path):
    made = Station(tmp_path, settings.BROKER_URL)
    yield made
    made.end()


def figures(text: str) -> list[list[str]]:
    """What a report's CSV says, without the ids of the run."""
    return [
        [row[name] for name in ("classifier", "method", "metric", "value", "low", "high", "n", "left_out")]
        for row in csv.DictReader(text.splitlines())
    ]


def test_a_report_outlives_its_worker_and_the_command_writes_its_files(station, tmp_path) -> None:
    two_classifiers(make_world(), tmp_path)
    options = [
        f"--option={key}={','.join(value) if isinstance(value, list) else value}" for key, value in RECIPE.items()
    ]
    wish = ["report", "--image-set=scenes", "--classifier=second", "--classifier=first", "--part=all", *options]
    run = Run.objects.get(uuid=station.manage(*wish).stdout.split()[0])
    first = station.worker()
    wait_for(lambda: fresh(run).scores.exists())
    first.kill()
    first.wait()
    kept = dict(run.scores.values_list("pk", "created"))
    late = timezone.now() - timezone.timedelta(seconds=120)
    Run.objects.filter(pk=run.pk, state__in=Run.OPEN).update(heartbeat=late)
    Worker.objects.all().delete()
    station.worker()
    station.manage("sweep_runs")
    done = wait_for(lambda: fresh(run).state in Run.ENDED and fresh(run))
    assert done.state == "succeeded", done.reason + done.log + station.said
    assert kept.items() <= dict(run.scores.values_list("pk", "created")).items()
    assert done.scores.count() == 2 * (1 + 4 * 3)
    # The same once more, here and now: every map is there already, the figures are equal.
    files = [f"--csv={tmp_path / 'figures.csv'}", f"--latex={tmp_path / 'table.tex'}"]
    said = station.manage(*wish, "--wait", *files).stdout
    assert "second · Grad-CAM" in said
    assert f"written: {tmp_path / 'table.tex'}" in said
    again = figures((tmp_path / "figures.csv").read_text("utf-8"))
    before = figures(csv_text(report_of(done)))
    assert again == before
    assert len(before) == 2 * (1 + 4 * 3)
    assert r"\toprule" in (tmp_path / "table.tex").read_text()
