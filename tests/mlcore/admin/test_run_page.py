"""The page of a run: curves, progress, actions; in few queries whatever the run's size."""

import pytest
from django.urls import reverse
from django.utils import timezone

from mlcore.models import AuditEntry, Run, RunMetric
from mlcore.runs import state
from tests.mlcore.runs.world import start

pytestmark = pytest.mark.django_db


@pytest.fixture
def page_of(loop, client):
    client.force_login(loop.owner)

    def get(name: str, run: Run):
        return client.get(reverse(f"admin:mlcore_run_{name}", args=[run.pk]))

    return get


def test_curves_are_the_stored_metrics(loop, page_of):
    answer = page_of("curves", loop.phase1).json()
    assert answer["open"] is False
    assert [metric["name"] for metric in answer["metrics"]] == ["loss", "accuracy"]
    loss = answer["metrics"][0]
    assert loss["main"]
    assert [series["part"] for series in loss["series"]] == ["train", "validation"]
    assert loss["series"][0]["points"] == [[step, 1 / step] for step in range(1, 7)]
    assert loss["series"][1]["points"] == [[3, 1 / 3], [6, 1 / 6]]


def test_the_part_asks_again_only_while_the_run_is_open(loop, page_of):
    run = start(loop.world, owner=loop.owner)
    queued = page_of("status", run)
    assert "hx-trigger" in queued.content.decode()
    assert "No training worker lives" in queued.content.decode()
    assert "HX-Refresh" not in queued
    claim = state.claim(run.uuid, "here:1")
    state.begin(claim, total_steps=40, versions={}, device="cpu")
    state.beat(claim, ["2026 epoch 1\n"], step=10, seconds_left=90.0, stage="training")
    running = page_of("status", run).content.decode()
    assert "step 10 of 40" in running
    assert "left" in running
    state.fail(claim, "The loss was not a number at step 11.")
    failed = page_of("status", run)
    assert failed["HX-Refresh"] == "true"
    assert "hx-trigger" not in failed.content.decode()
    assert "The loss was not a number at step 11." in failed.content.decode()


def test_cancel_and_resume_are_the_domains_own(loop, client):
    client.force_login(loop.owner)
    run = start(loop.world, owner=loop.owner)
    client.post(reverse("admin:mlcore_run_cancel", args=[run.pk]))
    run.refresh_from_db()
    assert run.state == "cancelled"
    client.post(reverse("admin:mlcore_run_resume", args=[run.pk]))
    run.refresh_from_db()
    assert run.state == "queued"
    assert list(AuditEntry.objects.filter(object_id=str(run.uuid)).values_list("action", flat=True)) == [
        "run.resume", "run.cancel", "run.start",
    ]  # fmt: skip
    assert client.get(reverse("admin:mlcore_run_cancel", args=[run.pk])).status_code == 405


def test_cancelling_an_ended_run_says_why_not(loop, client):
    client.force_login(loop.owner)
    answer = client.post(reverse("admin:mlcore_run_cancel", args=[loop.phase1.pk]), follow=True)
    assert "has ended already" in answer.content.decode()


def test_differences_from_the_default_are_marked(loop, page_of):
    page = page_of("change", loop.phase1).content.decode()
    marked = page.split('<dl class="h-recipe h-card">')[1].split("</dl>")[0]
    assert "Epochs" in marked
    assert "default 10" in marked
    assert "Weight decay" not in marked


def test_twelve_images_before_and_after_are_the_same_images(loop, page_of):
    page = page_of("change", loop.phase2).content.decode()
    assert "The same twelve images, before and after" in page
    assert page.count('alt="Before: ') == page.count('alt="After: ') == 3


def test_compare_marks_lines_that_differ(loop, client):
    client.force_login(loop.owner)
    address = reverse("admin:mlcore_run_compare")
    page = client.get(address, {"run": [loop.phase2.pk, loop.control.pk]}).content.decode()
    rows = {row.split("<th")[1].split(">")[1].split("<")[0]: "h-differs" in row for row in page.split("<tr class=")[1:]}
    assert rows["Objective"]
    assert not rows["Epochs"]
    assert "90.0 %" in page
    assert "60.0 %" in page


def test_queries_do_not_grow_with_the_run(loop, page_of, django_assert_max_num_queries):
    run = start(loop.world, owner=loop.owner)
    claim = state.claim(run.uuid, "here:1")
    state.begin(claim, total_steps=4000, versions={}, device="cpu")
    RunMetric.objects.bulk_create(
        RunMetric(run=run, step=step, epoch=step / 100, part="train", name=name, value=1.0)
        for step in range(2000)
        for name in ("loss", "classification")
    )
    Run.objects.filter(pk=run.pk).update(step=2000, heartbeat=timezone.now())
    with django_assert_max_num_queries(14):
        page_of("change", run)
    with django_assert_max_num_queries(10):
        page_of("status", run)
    with django_assert_max_num_queries(8):
        answer = page_of("curves", run)
    assert all(len(series["points"]) <= 500 for metric in answer.json()["metrics"] for series in metric["series"])
