"""The form that starts a run: the same run as from the command line, and sentences where it is refused."""

import pytest
from django.urls import reverse

from mlcore.admin import run_form
from mlcore.catalogue import OBJECTIVES, fields_for
from mlcore.models import Run
from mlcore.runs.start import start_run
from tests.annotation.admin.world import owned_world
from tests.annotation.factories import researcher

pytestmark = pytest.mark.django_db
START = "admin:mlcore_run_start"


@pytest.fixture
def rita():
    return researcher()


def wish(world, **changes):
    return {
        "kind": "train",
        "image_set": str(world.image_set.pk),
        "partition": str(world.partition.pk),
        "classifier": "",
        "supervision": "",
        "name": "from the form",
        "seed": "7",
        "objective": "supervised",
        "architecture": "sixconv",
        "epochs": "3",
        "image_size": "32",
        "flip": "no",
    } | changes


def shown_values(page: str, rita, data: dict) -> dict:
    """What a browser would send: every line of the form as it is shown."""
    form = run_form.build(rita, data)
    lines = [
        *form.what,
        *form.common,
        *(form.own.inputs if form.own else []),
        *(i for g in form.folded for i in g.inputs),
    ]
    for line in lines:
        assert f'name="{line.name}"' in page, line.name
    sent = {line.name: ("yes" if line.value else "no") if line.kind == "bool" else line.text for line in lines}
    return {"kind": form.kind, "name": form.name, "seed": str(form.seed)} | sent


def test_the_form_starts_the_same_run_as_start_run(world, rita, client):
    client.force_login(rita)
    data = wish(world)
    page = client.get(reverse(START), data).content.decode()
    answer = client.post(reverse(START), shown_values(page, rita, data))
    by_form = Run.objects.get()
    assert answer["Location"] == reverse("admin:mlcore_run_change", args=[by_form.pk])
    by_hand = start_run(
        kind="train", name="from the form", owner=rita, image_set=world.image_set, partition=world.partition, seed=7,
        recipe={"architecture": "sixconv", "epochs": 3, "image_size": 32, "flip": False}, enqueue=False,
    )  # fmt: skip
    for name in ("kind", "name", "recipe", "seed", "manifest_hash", "image_set", "partition", "owner"):
        assert getattr(by_form, name) == getattr(by_hand, name), name


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_each_objective_shows_its_own_fields_and_no_others(world, rita, client, objective):
    client.force_login(rita)
    page = client.get(reverse("admin:mlcore_run_form"), wish(world, objective=objective)).content.decode()
    own = {field.name for field in OBJECTIVES[objective].fields}
    every = {field.name for spec in OBJECTIVES.values() for field in spec.fields}
    for name in every:
        assert (f'name="{name}"' in page) == (name in own), name


@pytest.mark.parametrize("kind", ["train", "explain", "evaluate"])
def test_every_field_of_the_catalogue_has_its_line_with_label_and_help(world, rita, client, kind):
    client.force_login(rita)
    page = client.get(reverse("admin:mlcore_run_form"), wish(world, kind=kind)).content.decode()
    for field in fields_for(kind):
        assert f'name="{field.name}"' in page, field.name
        assert field.label.replace("'", "&#x27;") in page, field.name


@pytest.mark.parametrize(
    ("change", "field", "sentence"),
    [
        ({"epochs": "0"}, "epochs", "below the smallest allowed value"),
        ({"epochs": "many"}, "epochs", "is not a number"),
        ({"learning_rate": "1e9"}, "learning_rate", "above the largest allowed value"),
        ({"architecture": "bignet"}, "architecture", "neither a torchvision classifier nor sixconv"),
        ({"partition": ""}, "partition", ""),
    ],
)
def test_what_is_wrong_is_said_at_its_field(world, rita, client, change, field, sentence):
    client.force_login(rita)
    answer = client.post(reverse(START), wish(world, **change))
    assert answer.status_code == 422
    page = answer.content.decode()
    error = page.split(f'id="error_{field}">')[1].split("<")[0]
    assert sentence in error
    assert len(error) > 10
    assert not Run.objects.exists()


def test_without_images_it_asks_for_them(rita, client):
    client.force_login(rita)
    answer = client.post(reverse(START), {"kind": "train"})
    assert answer.status_code == 422
    assert "Choose the images of this run." in answer.content.decode()


def test_rows_of_others_are_neither_offered_nor_taken(world, rita, client):
    other = owned_world(researcher(), "of someone else")
    client.force_login(rita)
    page = client.get(reverse(START), wish(world)).content.decode()
    assert "of someone else" not in page
    answer = client.post(reverse(START), wish(other))
    assert answer.status_code == 422
    assert not Run.objects.exists()


def test_an_attention_run_brings_its_control_when_asked(loop, client):
    client.force_login(loop.owner)
    before = Run.objects.count()
    data = run_form.from_run(loop.phase2) | {"name": "once more", "with_control": "yes"}
    answer = client.post(reverse(START), data)
    assert answer.status_code == 302, answer.content.decode()
    assert Run.objects.count() == before + 2
    run = Run.objects.get(name="once more")
    assert run.control.recipe["objective"] == "supervised"
    assert run.control.manifest_hash == run.manifest_hash


def test_repeat_with_changes_says_what_it_repeats(loop, client):
    client.force_login(loop.owner)
    address = reverse("admin:mlcore_run_repeat", args=[loop.phase2.pk])
    assert 'value="gradia" selected' in client.get(address).content.decode()
    answer = client.post(address, run_form.from_run(loop.phase2) | {"seed": "11", "name": "again"})
    assert answer.status_code == 302, answer.content.decode()
    again = Run.objects.get(name="again")
    assert (again.repeats, again.seed) == (loop.phase2, 11)
    assert again.recipe == loop.phase2.recipe
    assert again.manifest_hash == loop.phase2.manifest_hash


def test_a_chosen_classifier_brings_its_own_input_size(loop, client):
    client.force_login(loop.owner)
    data = wish(loop.world, classifier=str(loop.classifier.pk), image_size="224")
    del data["architecture"]
    part = client.get(reverse("admin:mlcore_run_form"), data, headers={"HX-Trigger-Name": "classifier"})
    assert 'name="image_size" value="32"' in " ".join(part.content.decode().split())
    assert 'name="architecture"' not in part.content.decode()
