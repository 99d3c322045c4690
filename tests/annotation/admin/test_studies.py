"""Researchers publish, watch, look, close and export; each by a function of the domain, each on record."""

import csv
import io
import json

import pytest
from django.urls import reverse

from annotation.admin.results import wilson
from annotation.models import Study
from mlcore.models import AuditEntry, Classifier, ExplanationSet
from tests.annotation.factories import explain, images, ratings, researcher

pytestmark = pytest.mark.django_db


def address(name: str, *args) -> str:
    return reverse(f"admin:annotation_study_{name}", args=args)


@pytest.fixture
def rita():
    return researcher()


@pytest.fixture
def maps(rita):
    shown = images(5)
    made = explain(shown, owner=rita)
    Classifier.objects.update(owner=rita)
    return made


def test_two_clicks_publish_a_study(maps, rita, client):
    client.force_login(rita)
    first = client.get(reverse("admin:mlcore_explanationset_change", args=[maps.pk])).content.decode()
    click = address("create") + f"?explanations={maps.pk}"
    assert click in first
    form = client.get(click).content.decode()
    assert ">Publish</button>" in form
    sent = {"explanations": maps.pk, "kind": "reasonability", "which": "all", "most": "", "k": "3", "live": "yes"}
    answer = client.post(address("create"), sent)
    study = Study.objects.get()
    assert answer["Location"] == address("change", study.pk)
    assert (study.state, study.kind, study.answers_per_trial, study.owner) == ("live", "reasonability", 3, rita)
    assert study.trials.count() == 5
    assert set(AuditEntry.objects.values_list("action", flat=True)) >= {"study.publish"}


def test_a_draft_stays_a_draft_and_is_published_from_its_page(maps, rita, client):
    client.force_login(rita)
    sent = {"explanations": maps.pk, "kind": "map_drawing", "which": "all", "most": "2", "k": "", "live": "no"}
    client.post(address("create"), sent | {"map_drawing-rest": "unknown"})
    study = Study.objects.get()
    assert (study.state, study.trials.count(), study.answers_per_trial) == ("draft", 2, None)
    assert study.versions.get().settings["rest"] == "unknown"
    client.post(address("publish", study.pk))
    study.refresh_from_db()
    assert study.state == "live"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"k": "none"}, "Choose a whole number from 1"),
        ({"k": "0"}, "Choose a whole number from 1"),
        ({"reasonability-opacity": "7"}, "above the largest allowed value"),
        ({"name": "x" * 161}, "longer than 160 characters"),
    ],
)
def test_a_study_that_cannot_be_is_refused_with_a_sentence(maps, rita, client, change, sentence):
    client.force_login(rita)
    sent = {"explanations": maps.pk, "kind": "reasonability", "which": "all", "k": "3", "live": "yes"}
    answer = client.post(address("create"), sent | change)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not Study.objects.exists()


def test_maps_of_others_cannot_be_published(rita, client):
    theirs = explain(images(2), owner=researcher())
    client.force_login(rita)
    page = client.post(address("create"), {"explanations": theirs.pk, "kind": "reasonability", "k": "1"})
    assert not Study.objects.exists()
    assert str(theirs.classifier) not in page.content.decode()


def test_the_result_of_a_live_study_is_folded_and_a_look_is_logged(loop, client):
    client.force_login(loop.owner)
    page = client.get(address("change", loop.ratings.pk)).content.decode()
    assert "Look now (will be logged)" in page
    assert "h-matrix" not in page
    assert "scripted-1" in page
    looked = client.post(address("look", loop.ratings.pk)).content.decode()
    assert "h-matrix" in looked
    assert "These figures are of simulated annotators" in looked
    entry = AuditEntry.objects.get(action="study.look")
    assert (entry.actor, entry.object_id, entry.after["answers"]) == (loop.owner, str(loop.ratings.uuid), 3)
    assert "Look now" in client.get(address("change", loop.ratings.pk)).content.decode()


def test_a_closed_study_shows_its_result_without_a_look(loop, client):
    client.force_login(loop.owner)
    client.post(address("close", loop.ratings.pk))
    page = client.get(address("change", loop.ratings.pk)).content.decode()
    assert "h-matrix" in page
    assert "95 % interval" in page
    assert not AuditEntry.objects.filter(action="study.look").exists()


def test_exports_hold_every_answer_and_count_as_a_look_while_live(loop, client):
    client.force_login(loop.owner)
    answer = client.get(address("export", loop.ratings.pk, "csv"))
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert len(rows) == 3
    assert AuditEntry.objects.filter(action="study.look").count() == 1
    answer = client.get(address("export", loop.ratings.pk, "json"))
    assert len(json.loads(b"".join(answer.streaming_content))["answers"]) == 3
    assert client.get(address("export", loop.ratings.pk, "xlsx")).status_code == 404


def test_the_list_of_studies_costs_the_same_for_few_and_many(rita, client, django_assert_max_num_queries):
    client.force_login(rita)
    for number in (1, 4):
        for _ in range(number):
            ratings(2, owner=rita)
        with django_assert_max_num_queries(9):
            client.get(address("changelist"))


def test_images_are_chosen_over_all_classes_when_fewer_are_wanted(rita, client):
    shown = images(6)
    maps = explain(shown, owner=rita)
    client.force_login(rita)
    sent = {"explanations": maps.pk, "kind": "reasonability", "which": "all", "most": "3", "k": "1", "live": "yes"}
    client.post(address("create"), sent)
    chosen = set(Study.objects.get().trials.values_list("image", flat=True))
    assert chosen == {shown[0].pk, shown[2].pk, shown[4].pk}


def test_wilson_intervals():
    assert wilson(0, 0) is None
    low, high = wilson(15, 20)
    # Worked by hand: p = 0.75, n = 20, z = 1.96: centre 0.7097, half width 0.1785.
    assert low == pytest.approx(0.5313, abs=1e-4)
    assert high == pytest.approx(0.8881, abs=1e-4)
    assert wilson(5, 5)[1] == 1.0


def test_only_own_sets_are_offered_beside(maps, rita, client):
    other = explain([row.image for row in maps.explanations.select_related("image")], owner=researcher())
    client.force_login(rita)
    page = client.get(address("create"), {"explanations": maps.pk}).content.decode()
    assert str(other.classifier) not in page
    assert ExplanationSet.objects.count() == 2
