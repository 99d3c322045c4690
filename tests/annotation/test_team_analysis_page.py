"""The page of a team's analysis: computed by a worker, folded while live, its files under the same rule."""

import pytest
from django.urls import reverse

from annotation import analysis
from annotation.models import Study, StudyAnalysis
from annotation.publishing import close
from tests.annotation import factories as make
from tests.annotation.statistics.test_team_report import answer, study  # noqa: F401

pytestmark = pytest.mark.django_db
FILES = (
    "accuracy.svg", "accuracy.pdf", "accuracy.png", "team.svg", "team.pdf", "team.png", "team.tex", "team.json",
    "conditions.csv", "comparisons.csv", "people.csv",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "send", lambda row: True)


def test_it_is_computed_and_shown_with_its_files(client, study):  # noqa: F811
    owner = make.researcher()
    Study.objects.filter(pk=study.pk).update(owner=owner)
    answer(study, 6, kind="simulated")
    client.force_login(owner)
    address = reverse("admin:annotation_study_analysis", args=[study.pk])
    assert "Folded while the study is live" in client.get(address).content.decode()
    change = client.get(reverse("admin:annotation_study_change", args=[study.pk])).content.decode()
    assert address in change
    close(study, None)
    asked = client.post(reverse("admin:annotation_study_analysis_ask", args=[study.pk]))
    row = StudyAnalysis.objects.get()
    assert row.kinds == ["simulated"]
    analysis.perform(str(row.uuid))
    row.refresh_from_db()
    assert row.state == "done", row.reason
    page = client.get(asked["Location"]).content.decode()
    assert "These figures are of simulated people" in page
    for said in row.result["text"]:
        assert said.replace("'", "&#x27;").replace('"', "&quot;") in page
    for name in FILES:
        found = client.get(reverse("admin:annotation_study_analysis_file", args=[study.pk, row.uuid, name]))
        assert found.status_code == 200, name
        assert found.content
    missing = reverse("admin:annotation_study_analysis_file", args=[study.pk, row.uuid, "cells.csv"])
    assert client.get(missing).status_code == 404, "files of another kind of study"
    client.force_login(make.researcher())
    assert client.get(address).status_code == 404


def test_people_left_out_stand_beside(client, study):  # noqa: F811
    owner = make.researcher()
    Study.objects.filter(pk=study.pk).update(owner=owner)
    answer(study, 4)
    close(study, None)
    client.force_login(owner)
    first = study.participants.order_by("pk").first().pseudonym
    asked = client.post(reverse("admin:annotation_study_analysis_ask", args=[study.pk]), {"without": first})
    analysis.perform(str(StudyAnalysis.objects.get().uuid))
    page = client.get(asked["Location"]).content.decode()
    assert f"Left out in a second look: {first} (named by the reader)" in page
    assert "The same without them" in page
