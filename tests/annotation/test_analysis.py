"""An analysis is asked for once, computed by whoever comes first, and never stands at “running” for ever."""

import io
import json
import re
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from annotation import analysis, publishing
from annotation.answers import submit
from annotation.errors import StudyRefused
from annotation.flow import next_step
from annotation.models import Study, StudyAnalysis
from annotation.statistics.alignment.figure import pictures, short_names
from mlcore.models import AuditEntry
from tests.annotation import factories as make

pytestmark = pytest.mark.django_db
State = StudyAnalysis.State


def answered(people: int = 3, images: int = 4, *, close: bool = True) -> Study:
    """A study whose people prefer the second map of the first half of the images, and neither of the rest."""
    study = make.preferences(images, k=None)
    first = set(study.trials.order_by("image").values_list("pk", flat=True)[: images // 2])
    for _ in range(people):
        person = make.participant(study)
        while (assignment := next_step(person).assignment) is not None:
            side = "ab"[assignment.order.index(1)]
            choice = side if assignment.trial_id in first else "neither"
            submit(assignment=assignment, submission=uuid.uuid4(), payload={"choice": choice}, duration_ms=2000)
    if close:
        publishing.close(study, None)
    study.refresh_from_db()
    return study


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What workers were told of; nothing reads it."""
    told: list[str] = []
    monkeypatch.setattr(analysis, "send", lambda row: told.append(str(row.uuid)) or True)
    return told


def test_figures_are_of_the_answers_and_asked_for_once(sent: list[str], django_capture_on_commit_callbacks) -> None:
    study = answered()
    with django_capture_on_commit_callbacks(execute=True):
        row = analysis.request_analysis(study, ["human"])
        assert analysis.request_analysis(study, ["human"]) == row
    assert sent == [str(row.uuid)]
    assert analysis.perform(str(row.uuid))
    assert not analysis.perform(str(row.uuid)), "whoever comes second finds nothing to do"
    row.refresh_from_db()
    assert row.state == State.DONE
    assert row.result["overall"]["counts"] == {"original": 0, "neither": 6, "tuned": 6}
    assert row.result["overall"]["alignment"]["mean"] == 0.5
    assert row.result == json.loads(json.dumps(row.result)), "nothing that JSON does not hold"
    assert {(figure.name, figure.format) for figure in row.figures.all()} == {
        ("alignment", form) for form in ("svg", "pdf", "png")
    }
    kept = row.figures.get(format="svg").file.read().decode()
    assert "tuned preferred" in kept, "text stays text"
    assert "3 human; 4 images, 12 answers." in kept


def test_another_answer_is_another_analysis(sent: list[str]) -> None:
    study = answered(2, close=False)
    first = analysis.request_analysis(study, ["human"])
    person = make.participant(study)
    page = next_step(person).assignment
    assert page is not None
    submit(assignment=page, submission=uuid.uuid4(), payload={"choice": "a"})
    second = analysis.request_analysis(study, ["human"])
    submit(assignment=page, submission=uuid.uuid4(), payload={"choice": "b"}, base_revision=1)
    third = analysis.request_analysis(study, ["human"])
    assert len({first.pk, second.pk, third.pk}) == 3
    assert analysis.request_analysis(study, ["human"], without=[person.pseudonym]).pk not in (first.pk, third.pk)


def test_what_cannot_be_analysed_is_said(sent: list[str]) -> None:
    with pytest.raises(StudyRefused, match="is neither a preference nor a team study"):
        analysis.request_analysis(make.ratings(1), ["human"])
    with pytest.raises(StudyRefused, match="was never published"):
        analysis.request_analysis(make.preferences(1, live=False), ["human"])
    study = answered(1)
    with pytest.raises(StudyRefused, match="Kinds of people are"):
        analysis.request_analysis(study, ["robots"])
    with pytest.raises(StudyRefused, match="Nobody in this study is called “P-none”"):
        analysis.request_analysis(study, ["human"], without=["P-none"])
    assert not StudyAnalysis.objects.exists()


def test_a_failure_says_why_and_is_tried_again(
    sent: list[str], monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks
) -> None:
    study = answered(1)
    row = analysis.request_analysis(study, ["human"])
    with monkeypatch.context() as patch:
        patch.setattr(analysis, "pictures", lambda kind, result: (_ for _ in ()).throw(OSError("No space left")))
        assert analysis.perform(str(row.uuid))
    row.refresh_from_db()
    assert (row.state, row.reason) == (State.FAILED, "OSError: No space left")
    assert not row.figures.exists()
    with django_capture_on_commit_callbacks(execute=True):
        analysis.request_analysis(study, ["human"])
    assert sent == [str(row.uuid)]
    assert analysis.perform(str(row.uuid))
    row.refresh_from_db()
    assert (row.state, row.reason) == (State.DONE, "")


def test_lost_messages_and_lost_workers_are_healed(sent: list[str]) -> None:
    row = analysis.request_analysis(answered(1), ["human"])
    assert analysis.sweep() == 0, "it was sent a moment ago"
    rows = StudyAnalysis.objects.filter(pk=row.pk)
    rows.update(created=timezone.now() - timedelta(minutes=5))
    assert analysis.sweep() == 1
    rows.update(state=State.RUNNING, started=timezone.now() - timedelta(minutes=5))
    assert analysis.sweep() == 0, "its worker may still be at it"
    rows.update(started=timezone.now() - timedelta(hours=1))
    assert analysis.sweep() == 1
    row.refresh_from_db()
    assert row.state == State.QUEUED


def test_the_command_gives_the_same_figures(tmp_path: Path, sent: list[str]) -> None:
    study = answered()
    out = io.StringIO()
    files = [tmp_path / f"figure.{form}" for form in ("svg", "pdf", "png")]
    call_command("analyse", study.name, "--json", "--latex", tmp_path / "t.tex", "--csv", tmp_path / "csv",
                 *(word for file in files for word in ("--figure", file)), stdout=out)  # fmt: skip
    row = analysis.request_analysis(study, ["human"])
    analysis.perform(str(row.uuid))
    row.refresh_from_db()
    assert json.loads(out.getvalue()) == row.result
    assert [file.read_bytes()[:4] for file in files] == [b"<?xm", b"%PDF", b"\x89PNG"]
    assert r"\toprule" in (tmp_path / "t.tex").read_text()
    assert (tmp_path / "csv" / "raters.csv").read_text().count("\n") >= 4
    said = io.StringIO()
    call_command("analyse", study.name, "--without", study.participants.first().pseudonym, stdout=said)
    assert "alignment +0.50" in said.getvalue()
    assert not AuditEntry.objects.filter(action="study.look").exists()
    with pytest.raises(CommandError, match="should end in"):
        call_command("analyse", study.name, "--figure", tmp_path / "figure.jpg")


def test_a_command_at_a_live_study_is_a_look() -> None:
    study = answered(1, close=False)
    call_command("analyse", study.name, stdout=io.StringIO())
    assert AuditEntry.objects.get(action="study.look").object_id == str(study.uuid)


def test_the_same_figures_give_the_same_svg_and_embedded_fonts(sent: list[str]) -> None:
    report = analysis.compute_now(answered(2), ["human"])
    first, second = pictures(report), pictures(report)
    assert first["alignment", "svg"] == second["alignment", "svg"]
    assert b"<text" in first["alignment", "svg"]
    assert b"/FontFile2" in first["alignment", "pdf"], "fonts travel with the file"


def test_rows_are_named_as_shortly_as_tells_them_apart() -> None:
    rows: list[dict[str, Any]] = [
        {"cell": "rma · a", "metric": "RMA", "method": "Grad-CAM"},
        {"cell": "rma · b", "metric": "RMA", "method": "Grad-CAM"},
        {"cell": "focus", "metric": "Focus", "method": ""},
        {"cell": "", "metric": "", "method": ""},
        {"cell": "x" * 80, "metric": "", "method": ""},
    ]
    names = short_names(rows)
    assert names[:4] == ["rma · a", "rma · b", "Focus", "all pairs"]
    assert re.fullmatch(r"x+…", names[4])
