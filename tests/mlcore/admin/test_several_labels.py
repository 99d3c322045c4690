"""The form of a run on images with several labels: its own defaults, its words, and what it starts."""

import pytest
from django.urls import reverse

from mlcore.models import ImageLabel, Run
from tests.mlcore.admin.test_tuning_pages import value_of
from tests.mlcore.runs.world import make_classifier

pytestmark = pytest.mark.django_db
FORM, START = "admin:mlcore_run_form", "admin:mlcore_run_start"


@pytest.fixture
def wish(world) -> dict[str, str]:
    """What stands in the form when several labels have just been chosen: the defaults of one label."""
    for image in world.part("train")[:3]:
        ImageLabel.objects.get_or_create(image=image, index=1 - image.labels.get().index)
    return {
        "kind": "train", "image_set": str(world.image_set.pk), "partition": str(world.partition.pk), "name": "several",
        "seed": "1", "objective": "grid", "labels": "several", "architecture": "squeezenet1_1",
        "learning_rate": "0.0001", "epochs": "10",
        "optimizer": "adam", "schedule": "none", "schedule_at": "", "weight_decay": "0", "grid_weight": "25",
        "select": "best_accuracy",
    }  # fmt: skip


def test_choosing_several_brings_the_published_settings(client, wish) -> None:
    page = client.get(reverse(FORM), wish, headers={"HX-Trigger-Name": "labels"}).content.decode()
    names = ("learning_rate", "epochs", "weight_decay", "schedule_at", "grid_weight", "bce_weight")
    assert {name: value_of(page, name) for name in names} == {
        "learning_rate": "0.01", "epochs": "36", "weight_decay": "0.0005", "schedule_at": "24,30", "grid_weight": "1",
        "bce_weight": "80",
    }  # fmt: skip
    assert value_of(page, "architecture") == "resnet18"
    assert "the best mean average precision" in page
    assert "the best accuracy" not in page
    typed = client.get(reverse(FORM), wish | {"learning_rate": "0.002"}, headers={"HX-Trigger-Name": "labels"})
    assert value_of(typed.content.decode(), "learning_rate") == "0.002"
    back = wish | {name: value_of(page, name) for name in names} | {"labels": "one"}
    plain = client.get(reverse(FORM), back, headers={"HX-Trigger-Name": "labels"}).content.decode()
    assert {name: value_of(plain, name) for name in names[:5]} == {
        "learning_rate": "0.0001", "epochs": "10", "weight_decay": "0", "schedule_at": "", "grid_weight": "25",
    }  # fmt: skip
    assert "the best accuracy" in plain


def test_it_starts_with_them(client, wish) -> None:
    sent = {name: wish[name] for name in ("kind", "image_set", "partition", "name", "seed", "objective", "labels")}
    assert client.post(reverse(START), sent).status_code == 302
    run = Run.objects.get()
    assert (run.recipe["labels"], run.recipe["grid_weight"], run.recipe["epochs"]) == ("several", 1.0, 36)
    assert all(isinstance(label, list) for entries in run.manifest.values() for _, label, _ in entries)


def test_what_cannot_be_is_said_at_its_field(client, wish) -> None:
    def said(name: str, **changes: str) -> str:
        answer = client.post(reverse(START), wish | changes)
        assert answer.status_code == 422
        return answer.content.decode().split(f'id="error_{name}">')[1].split("<")[0]

    assert "learns from one label an image" in said("labels", objective="gradia")
    assert "no list of epochs" in said("schedule_at", schedule_at="soon")
    assert "3 images have no label, or several" in said("image_set", labels="one")


def test_a_classifier_of_several_is_evaluated_so(client, rita, world, wish) -> None:
    taught = make_classifier(world)
    taught.owner, taught.transform = rita, taught.transform | {"labels": "several"}
    taught.save()
    chosen = {"image_set": wish["image_set"], "partition": wish["partition"], "classifier": str(taught.pk)}
    for kind in ("evaluate", "explain"):
        given = chosen | {"kind": kind, "labels": "one"}
        page = client.get(reverse(FORM), given, headers={"HX-Trigger-Name": "classifier"}).content.decode()
        assert 'value="several" selected' in page
    plain = client.get(reverse(FORM), wish | chosen | {"labels": "one"}, headers={"HX-Trigger-Name": "classifier"})
    assert 'value="one" selected' in plain.content.decode()
