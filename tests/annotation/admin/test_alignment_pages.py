"""The alignment page: folded while live, its look on record, its files under the same rule, nobody else's business."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from annotation import analysis
from annotation.models import Study, StudyAnalysis
from mlcore.models import AuditEntry
from tests.annotation import factories as make
from tests.annotation.test_analysis import answered

pytestmark = pytest.mark.django_db
FILES = ("alignment.svg", "alignment.pdf", "alignment.png", "alignment.tex", "alignment.json", "cells.csv",
         "raters.csv", "images.csv")  # fmt: skip


@pytest.fixture(autouse=True)
def _nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "send", lambda row: True)


def of(owner: Any, **values: Any) -> tuple[Study, str]:
    study = answered(2, 2, **values)
    Study.objects.filter(pk=study.pk).update(owner=owner)
    study.refresh_from_db()
    return study, reverse("admin:annotation_study_analysis", args=[study.pk])


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_a_closed_study_is_computed_and_shown(django_assert_max_num_queries: Any) -> None:
    owner = make.researcher()
    study, address = of(owner)
    client = signed_in(owner)
    assert "Nothing is computed yet" in client.get(address).content.decode()
    asked = client.post(reverse("admin:annotation_study_analysis_ask", args=[study.pk]))
    waiting = client.get(asked["Location"]).content.decode()
    assert 'hx-trigger="every 2s"' in waiting
    assert "No worker of the queue" in waiting
    row = StudyAnalysis.objects.get()
    analysis.perform(str(row.uuid))
    with django_assert_max_num_queries(25):
        page = client.get(address).content.decode()
    assert "hx-trigger" not in re.findall(r'<div id="analysis".*?>', page, re.DOTALL)[0]
    for said in StudyAnalysis.objects.get().result["text"]:
        assert said.replace("'", "&#x27;").replace('"', "&quot;") in page
    assert "+0.50" in page
    for name in FILES:
        found = client.get(reverse("admin:annotation_study_analysis_file", args=[study.pk, row.uuid, name]))
        assert found.status_code == 200, name
        assert found.content, name
        assert "no-store" in found["Cache-Control"]
    missing = reverse("admin:annotation_study_analysis_file", args=[study.pk, row.uuid, "secret.png"])
    assert client.get(missing).status_code == 404
    assert not AuditEntry.objects.filter(action="study.look").exists()


def test_a_live_study_is_folded_until_the_look_is_logged() -> None:
    owner, other = make.researcher(), make.researcher()
    study, address = of(owner, close=False)
    client = signed_in(owner)
    earlier = analysis.request_analysis(study, ["human"])
    analysis.perform(str(earlier.uuid))
    page = client.get(address).content.decode()
    assert "Folded while the study is live" in page
    assert "+0.50" not in page
    file = reverse("admin:annotation_study_analysis_file", args=[study.pk, earlier.uuid, "alignment.json"])
    assert client.get(file).status_code == 404
    asked = client.post(reverse("admin:annotation_study_analysis_ask", args=[study.pk]))
    assert AuditEntry.objects.filter(action="study.look", actor=owner).count() == 1
    shown = client.get(asked["Location"]).content.decode()
    assert "+0.50" in shown
    look = asked["Location"].partition("?")[2]
    assert client.get(f"{file}?{look}").status_code == 200
    Study.objects.filter(pk=study.pk).update(owner=other)
    assert "+0.50" not in signed_in(other).get(f"{address}?{look}").content.decode(), "a look is one person's"


def test_nobody_else_gets_any_of_it() -> None:
    study, address = of(make.researcher())
    row = analysis.request_analysis(study, ["human"])
    analysis.perform(str(row.uuid))
    ask = reverse("admin:annotation_study_analysis_ask", args=[study.pk])
    file = reverse("admin:annotation_study_analysis_file", args=[study.pk, row.uuid, "alignment.json"])
    for client, codes in (
        (Client(), {302}), (signed_in(make.annotator()), {302, 403}), (signed_in(make.researcher()), {404}),
    ):  # fmt: skip
        assert client.get(address).status_code in codes
        assert client.get(file).status_code in codes
        assert client.post(ask).status_code in codes
    assert StudyAnalysis.objects.count() == 1


def test_what_is_wrong_is_said_and_other_kinds_have_no_such_page() -> None:
    owner = make.researcher()
    study, _ = of(owner)
    client = signed_in(owner)
    answer = client.post(
        reverse("admin:annotation_study_analysis_ask", args=[study.pk]), {"without": "P-none"}, follow=True
    )
    assert "Nobody in this study is called “P-none”" in answer.content.decode()
    ratings = make.ratings(1)
    Study.objects.filter(pk=ratings.pk).update(owner=owner)
    assert client.get(reverse("admin:annotation_study_analysis", args=[ratings.pk])).status_code == 404
    assert (
        reverse("admin:annotation_study_analysis", args=[study.pk])
        in client.get(reverse("admin:annotation_study_change", args=[study.pk])).content.decode()
    )


def test_a_failure_is_told_in_a_line() -> None:
    owner = make.researcher()
    study, address = of(owner)
    row = analysis.request_analysis(study, ["human"])
    StudyAnalysis.objects.filter(pk=row.pk).update(state=StudyAnalysis.State.FAILED, reason="OSError: No space left")
    assert "The figures could not be computed: OSError: No space left" in signed_in(owner).get(address).content.decode()
