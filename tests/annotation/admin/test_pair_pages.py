"""Attribution pairs from the administration: what is missing, the draft that is made, the file that is carried away."""

import io
import json
import zipfile

import pytest
from django.core.files.storage import default_storage
from django.urls import reverse

from annotation.exchange.bundle import MANIFEST
from annotation.models import Stimulus, Study
from annotation.pair_studies import pair_sets_of
from mlcore.models import Explanation, PairSet, Score
from tests.annotation.admin.forms import form_of
from tests.annotation.factories import ratings, researcher
from tests.annotation.pairs import Cells, make_cells

pytestmark = pytest.mark.django_db


@pytest.fixture
def cells() -> Cells:
    made = make_cells()
    PairSet.objects.all().delete()
    return made


def address(cells: Cells, place: int = 0) -> str:
    return reverse("admin:annotation_study_pairs", args=[cells.tuned[place].classifier_id])


def wish(cells: Cells, **values) -> dict:
    return {
        "copies": [one.classifier_id for one in cells.tuned], "method": "grad_cam", "partition": cells.partition.pk,
        "part": "test", "n": 2, "k": "", "name": "Does it agree?",
    } | values  # fmt: skip


def test_the_page_says_what_is_there_and_leads_to_what_is_missing(cells, client):
    client.force_login(cells.owner)
    page = client.get(address(cells)).content.decode()
    assert page.count("all 5") == 4
    assert page.count("before and after") == 1  # of Focus; RMA was not scored
    assert "content_heat_map" in page
    Explanation.objects.filter(set=cells.tuned[1], image__in=cells.images[:3]).delete()
    answer = client.get(address(cells))
    lines = answer.context["lines"]
    assert [(line.there.lacks_original, line.there.lacks_tuned) for line in lines] == [(0, 0), (0, 3)]
    assert "3 of 5 missing" in answer.content.decode()
    assert f"classifier={cells.tuned[1].classifier_id}" in lines[1].explain_copy
    shown = client.get(lines[1].explain_copy)
    assert shown.status_code == 200
    for told in ('value="true" selected', 'value="test" selected', 'value="grad_cam"'):
        assert told in shown.content.decode(), told


def test_another_method_is_looked_at_before_anything_is_made(cells, client):
    client.force_login(cells.owner)
    answer = client.post(address(cells), wish(cells, method="rise", look="yes"))
    assert answer.status_code == 200
    assert [line.there.lacks_tuned for line in answer.context["lines"]] == [5, 5]
    assert not Study.objects.exists()


def test_one_press_makes_pairs_and_a_draft(cells, client):
    client.force_login(cells.owner)
    answer = client.post(address(cells), wish(cells, k="3"))
    study = Study.objects.get()
    assert answer["Location"] == reverse("admin:annotation_study_change", args=[study.pk])
    assert (study.state, study.owner, study.answers_per_trial) == ("draft", cells.owner, 3)
    assert [(one.metric, one.pairs.count(), one.owner) for one in pair_sets_of(study)] == [
        ("focus", 2, cells.owner), ("rma", 2, cells.owner),
    ]  # fmt: skip
    assert "4 pairs are made" in client.get(answer["Location"]).content.decode()


def test_what_is_refused_is_a_sentence_and_nothing_is_made(cells, client):
    client.force_login(cells.owner)
    for values, sentence in (
        ({"method": "rise"}, "Explain both first"),
        ({"part": "validation"}, "Explain both first"),
        ({"n": 5}, "fewer pairs"),
        ({"copies": []}, "This field is required"),
    ):
        answer = client.post(address(cells), wish(cells, **values))
        assert answer.status_code == 422
        assert sentence in answer.content.decode()
    assert not Study.objects.exists()
    assert not PairSet.objects.exists()


def test_a_tuned_copy_and_its_run_lead_to_the_page(cells, client):
    client.force_login(cells.owner)
    tuned = cells.tuned[0].classifier
    Score.objects.bulk_create(
        Score(run=tuned.run, classifier=tuned, part="validation", metric=metric, value=0.5, n=4)
        for metric in ("harmony_score_before", "harmony_score", "harmony_gain", "harmony_agreement")
    )
    assert address(cells) in client.get(reverse("admin:mlcore_run_change", args=[tuned.run_id])).content.decode()
    assert address(cells) in client.get(reverse("admin:mlcore_classifier_change", args=[tuned.pk])).content.decode()
    plain = reverse("admin:mlcore_classifier_change", args=[cells.original.classifier_id])
    assert "Make attribution pairs" not in client.get(plain).content.decode()


def test_the_bundle_is_downloaded_from_the_studys_page(cells, client):
    client.force_login(cells.owner)
    client.post(address(cells), wish(cells))
    study = Study.objects.get()
    where = reverse("admin:annotation_study_bundle", args=[study.pk])
    assert where in client.get(reverse("admin:annotation_study_change", args=[study.pk])).content.decode()
    answer = client.get(where)
    assert answer["Content-Disposition"] == f'attachment; filename="pairs-{str(study.uuid)[:8]}.zip"'
    with zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))) as archive:
        assert json.loads(archive.read(MANIFEST))["studies"] == [{"uuid": str(study.uuid), "name": "Does it agree?"}]
    default_storage.delete(cells.original.explanations.first().shard)
    answer = client.get(where)
    assert answer.status_code == 302
    assert "cannot be packed" in client.get(answer["Location"]).content.decode()


def test_only_studies_of_pairs_have_a_bundle(cells, client):
    client.force_login(cells.owner)
    other = ratings(2, owner=cells.owner)
    assert client.get(reverse("admin:annotation_study_bundle", args=[other.pk])).status_code == 404
    page = client.get(reverse("admin:annotation_study_change", args=[other.pk])).content.decode()
    assert "Download bundle" not in page


def test_nothing_of_it_is_shown_to_another_researcher(cells, client):
    client.force_login(cells.owner)
    client.post(address(cells), wish(cells))
    study = Study.objects.get()
    client.force_login(researcher())
    for where in (
        address(cells),
        reverse("admin:annotation_study_bundle", args=[study.pk]),
    ):
        assert client.get(where).status_code == 404
    assert client.post(address(cells), wish(cells)).status_code == 404
    assert Study.objects.count() == 1


@pytest.mark.parametrize("number", [1, 2])
def test_the_form_of_a_draft_changes_its_rules_and_its_words_and_never_its_pairs(cells, client, number):
    client.force_login(cells.owner)
    client.post(address(cells), wish(cells, copies=[one.classifier_id for one in cells.tuned[:number]]))
    study = Study.objects.get()
    edit = reverse("admin:annotation_study_edit", args=[study.pk])

    def pairs() -> list:
        stimuli = Stimulus.objects.filter(trial__study=Study.objects.get()).order_by("explanation")
        return list(stimuli.values_list("trial__arm__name", "trial__image", "condition", "explanation"))

    before, groups = pairs(), study.version.settings["groups"]
    assert len(before) == 4 * number
    sent = form_of(client.get(edit))
    assert client.post(edit, sent | {"title": ["Look"]}).status_code == 302
    assert (Study.objects.get().pk, Study.objects.get().version.title, pairs()) == (study.pk, "Look", before)
    sent = form_of(client.get(edit))
    answer = client.post(edit, sent | {"mode": ["k"], "k": ["4"]})
    assert answer.status_code == 302, answer.context["form"].errors
    changed = Study.objects.get()
    assert (changed.uuid, changed.answers_per_trial) == (study.uuid, 4)
    assert pairs() == before
    assert changed.version.settings["groups"] == groups
    where = reverse("admin:annotation_study_change", args=[changed.pk])
    assert "Download bundle" in client.get(where).content.decode()
