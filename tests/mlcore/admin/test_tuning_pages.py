"""A run that tunes a copy for a metric: its form, with the published settings, and its page."""

import pytest
from django.urls import reverse

from mlcore.models import Run, RunMetric, Score
from mlcore.runs import state

pytestmark = pytest.mark.django_db
FORM, START = "admin:mlcore_run_form", "admin:mlcore_run_start"


@pytest.fixture
def wish(world, classifier) -> dict[str, str]:
    """What stands in the form when the objective has just been chosen: the defaults of the one before."""
    return {
        "kind": "train", "image_set": str(world.image_set.pk), "partition": str(world.partition.pk),
        "classifier": str(classifier.pk), "name": "tuned", "seed": "1", "objective": "harmony", "metric": "rma",
        "learning_rate": "0.0001", "batch_size": "32", "epochs": "10", "select": "best_accuracy", "flip": "yes",
    }  # fmt: skip


def value_of(page: str, name: str) -> str:
    return " ".join(page.split()).split(f'name="{name}" value="')[1].split('"')[0]


def test_choosing_the_objective_brings_the_published_settings(client, wish) -> None:
    wish["name"] = ""
    page = client.get(reverse(FORM), wish, headers={"HX-Trigger-Name": "objective"}).content.decode()
    shown = {name: value_of(page, name) for name in ("learning_rate", "epochs", "batch_size", "evaluate_steps")}
    assert shown == {"learning_rate": "3e-06", "epochs": "100", "batch_size": "8", "evaluate_steps": "20"}
    assert 'value="best_score" selected' in page
    assert 'value="best_accuracy"' not in page
    assert 'name="object_source"' in page
    assert "Start a control too" not in page
    assert "· tuned for Relevance mass accuracy (RMA)" in page
    focus = client.get(reverse(FORM), wish | {"metric": "focus"}, headers={"HX-Trigger-Name": "metric"})
    assert value_of(focus.content.decode(), "max_steps") == "20000"
    typed = client.get(reverse(FORM), wish | {"learning_rate": "0.002"}, headers={"HX-Trigger-Name": "metric"})
    assert value_of(typed.content.decode(), "learning_rate") == "0.002"


def test_it_starts_with_them_and_says_what_is_missing(client, wish) -> None:
    sent = {name: wish[name] for name in ("kind", "image_set", "partition", "name", "seed", "objective", "metric")}
    answer = client.post(reverse(START), sent)
    assert answer.status_code == 422
    assert "choose the classifier" in answer.content.decode().split('id="error_classifier">')[1].split("<")[0]
    assert client.post(reverse(START), sent | {"classifier": wish["classifier"]}).status_code == 302
    run = Run.objects.get(name="tuned")
    assert (run.recipe["learning_rate"], run.recipe["select"], run.recipe["flip"]) == (3e-6, "best_score", False)


def test_the_page_shows_before_and_after_with_the_agreement(client, wish) -> None:
    sent = {
        name: wish[name] for name in wish if name not in ("learning_rate", "batch_size", "epochs", "select", "flip")
    }
    client.post(reverse(START), sent)
    run = Run.objects.get(name="tuned")
    for name, value in (("score", 0.61), ("agreement", 1.0), ("keep", 0.01)):
        RunMetric.objects.create(run=run, step=0, epoch=1, part="validation", name=name, value=value)
    curves = client.get(reverse("admin:mlcore_run_curves", args=[run.pk])).json()["metrics"]
    assert [(curve["name"], curve["main"]) for curve in curves] == [
        ("score", True), ("agreement", True), ("keep", False),
    ]  # fmt: skip
    assert curves[0]["title"] == "Relevance mass accuracy (RMA)"
    assert [curve.get("guide") for curve in curves] == [None, {"label": "must be above", "value": 0.95}, None]

    state.succeed(state.claim(run.uuid, "here:1"), {})
    figures = {
        "harmony_score_before": (0.607, None), "harmony_score": (0.866, None), "harmony_gain": (0.259, (0.241, 0.277)),
        "harmony_agreement": (0.94, None), "content_heat_map": (0.861, None),
    }  # fmt: skip
    for name, (value, interval) in figures.items():
        low, high = interval or (None, None)
        Score.objects.create(
            run=run, classifier=run.classifier, part="test", metric=name, value=value, low=low, high=high, n=532
        )
    page = " ".join(client.get(reverse("admin:mlcore_run_change", args=[run.pk])).content.decode().split())
    table = page.split("the test part chose nothing")[1].split("</table>")[0]
    for figure in ("0.607", "0.866", "+0.259", "+0.241 to +0.277", "94.0 %", "not above 95.0 %", "532"):
        assert figure in table, figure
    assert "Harmony score" not in page
    assert "0.861" in page
