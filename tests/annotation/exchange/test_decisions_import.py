"""Decisions as a study with answers: everything once, nobody's name, half an import never."""

import csv
import io
import threading
import uuid
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from annotation.answers import submit
from annotation.exchange.decisions import parse_sheet
from annotation.exchange.decisions_columns import changed
from annotation.exchange.decisions_guess import guess
from annotation.exchange.decisions_import import Imported, import_decisions
from annotation.exchange.decisions_rows import read_decisions
from annotation.exchange.export import export_csv
from annotation.flow import next_step
from annotation.models import Answer, AnswerRevision, Assignment, Judgement, Participant, Study, Trial
from annotation.statistics.team import figures
from annotation.studies.trials import Group
from mlcore.exchange.report import ImportRefused
from mlcore.models import AuditEntry, Image, ImageLabel, ImageSet
from tests.annotation import factories as make
from tests.annotation.factories import ImageFactory, ImageSetFactory, researcher

pytestmark = pytest.mark.django_db
IMPORTED = ["imported"]
PLAIN = """person,image,method,ai_label,truth,accepted,ai_confidence,reaction_ms
Jane Doe,a.png,maps,Monarch,Monarch,1,0.75,1500
Jane Doe,b.png,maps,Zebra,Monarch,0,0.5,2500
John Roe,a.png,none,Admiral,Monarch,0,0.25,3500
John Roe,b.png,none,Monarch,Monarch,0,1,4500
"""


def imported(text: str, name: str = "Published", *, wanted: dict[str, str] | None = None, **options) -> Imported:
    sheet = parse_sheet(text.encode(), "published.csv")
    reading = changed(sheet, guess(sheet), wanted or {})
    options = {"owner": None, "file": sheet.name} | options
    return import_decisions(read_decisions(sheet, reading), reading, name=name, **options)


def counts() -> list[int]:
    models = (Study, Image, ImageLabel, Trial, Participant, Assignment, Answer, AnswerRevision, Judgement)
    return [model._default_manager.count() for model in models]


def accuracies(study: Study) -> dict[str, tuple]:
    """Condition → share of correct answers overall, where the AI is right, where it is wrong."""
    return {
        one["condition"]: tuple(
            one["accuracy"][name]["wilson"]["share"] for name in ("overall", "ai_right", "ai_wrong")
        )
        for one in figures(study, IMPORTED)["conditions"]
    }


def test_a_row_is_an_answer_and_the_same_file_adds_nothing() -> None:
    report = imported(PLAIN)
    assert (report.images, report.trials, report.people, report.answers) == (2, 4, 2, 4)
    study = report.study
    assert (study.kind, study.state, study.conditions) == ("team", "closed", "between")
    assert [(arm.name, arm.main_trials) for arm in study.arms.all()] == [("maps", 2), ("none", 2)]
    assert study.main_trials == 2  # that one person could meet
    # “a.png” shows a Monarch: one condition's AI is right about it and the other's is wrong.
    assert accuracies(study) == {"maps": (1.0, 1.0, 1.0), "none": (0.5, 0.0, 1.0)}
    before = counts()
    again = imported(PLAIN)
    assert (again.study, again.answers, again.already, again.otherwise) == (study, 0, 4, 0)
    assert counts() == before
    assert AuditEntry.objects.filter(action="study.import_decisions").count() == 1


def test_what_the_page_showed_and_what_was_answered_is_kept() -> None:
    study = imported(PLAIN).study
    answer = Answer.objects.get(assignment__participant__pseudonym="person-001", assignment__trial__image__name="b.png")
    trial = answer.assignment.trial
    assert trial.context == {"shown": "predicted", "class_name": "Zebra", "confidence": 0.5}
    assert trial.gold is None  # its label and the image's say it
    assert (trial.arm.name, answer.duration_ms, answer.assignment.place) == ("maps", 2500, 2)
    assert answer.revisions.get().payload == {"accept": False}
    assert study.version.settings["imported"]["columns"]["label"] == "ai_label"


def test_rows_that_came_later_are_added_and_what_is_there_stays() -> None:
    imported(PLAIN)
    more = PLAIN.replace("Monarch,1,0.75", "Monarch,0,0.75") + "Third,a.png,maps,Monarch,Monarch,1,0.75,10\n"
    report = imported(more)
    assert (report.people, report.answers, report.already, report.otherwise) == (1, 1, 4, 1)
    assert Judgement.objects.filter(truth=True).count() == 2
    assert [person.pseudonym for person in Participant.objects.order_by("pk")][-1] == "person-003"


@pytest.mark.parametrize(
    ("text", "wanted", "sentence"),
    [
        (PLAIN, {"confidence": ""}, "was imported with other columns"),
        (PLAIN.replace("none", "other"), {}, "has no condition “other”"),
        (PLAIN.replace("Zebra", "Moth"), {}, "has no class “Moth”"),
        (PLAIN.replace("Monarch", "Zebra"), {}, "with something else in “a.png” than “Zebra”"),
        (PLAIN + "Jane Doe,a.png,none,Admiral,Monarch,1,0.25,1\n", {}, "met one condition, “Jane Doe” met several"),
    ],
)
def test_another_file_under_the_same_name_is_refused(text: str, wanted: dict[str, str], sentence: str) -> None:
    imported(PLAIN)
    before = counts()
    with pytest.raises(ImportRefused, match=sentence):
        imported(text, wanted=wanted)
    assert counts() == before


def test_nobody_is_told_by_name_nor_by_a_hash_that_others_share() -> None:
    first, second = imported(PLAIN, "One").study, imported(PLAIN, "Other").study
    people = list(Participant.objects.order_by("pk"))
    assert {person.kind for person in people} == {"imported"}
    assert [person.pseudonym for person in people] == ["person-001", "person-002"] * 2
    assert not any(name in str(vars(person)) for person in people for name in ("Jane", "John", "Doe", "Roe"))
    marks = [set(study.participants.values_list("external_id", flat=True)) for study in (first, second)]
    assert not marks[0] & marks[1]


def test_people_who_meet_several_conditions_are_compared_within_themselves() -> None:
    study = imported(PLAIN.replace("John Roe", "Jane Doe")).study
    assert (study.conditions, study.main_trials) == ("within", 4)
    assert {one["paired"] for one in figures(study, IMPORTED)["differences"]} == {True}


def test_without_conditions_there_is_one() -> None:
    study = imported("person,image,ai_correct,accepted\nA,a,1,1\nA,b,0,1\n").study
    assert study.conditions == "together"
    assert accuracies(study) == {"all answers": (0.5, 1.0, 0.0)}


def test_whether_the_ai_was_right_may_be_all_that_is_told() -> None:
    """No label and no class: the trial itself says it, for figures and for the export."""
    study = imported(
        "person,image,method,ai_correct,accepted\nA,a,maps,1,1\nA,b,maps,0,1\nB,a,none,0,0\nB,b,none,1,0\n"
    ).study
    assert accuracies(study) == {"maps": (0.5, 1.0, 0.0), "none": (0.5, 0.0, 1.0)}
    assert not ImageLabel.objects.exists()
    rows = exported(study)
    assert [row["ai_right"] for row in rows] == ["true", "false", "false", "true"]


def test_where_nothing_tells_it_only_acceptance_is_known() -> None:
    found = figures(imported("person,image,accepted\nA,a,1\nB,a,0\n").study, IMPORTED)["conditions"][0]
    assert (found["accepted"], found["unknown"], found["accuracy"]["overall"]["answers"]) == (0.5, 2, 0)


def test_practice_never_enters_an_estimate_and_simulated_people_stay_simulated() -> None:
    study = imported(
        "person,image,ai_correct,accepted,phase,participant_kind\n"
        "A,p,1,0,training,human\nA,a,1,1,test,human\nS,a,1,0,test,simulated\n"
    ).study
    assert accuracies(study) == {"all answers": (1.0, 1.0, None)}
    assert Answer.objects.get(assignment__trial__phase="practice").correct is False
    assert dict(Participant.objects.values_list("pseudonym", "kind")) == {
        "person-001": "imported", "person-002": "simulated",
    }  # fmt: skip


# --- all or nothing -------------------------------------------------------------------------------------------


def test_one_bad_row_keeps_everything_out_unless_it_is_left_out() -> None:
    bad = PLAIN + "Third,a.png,maps,Monarch,Monarch,perhaps,0.75,10\n" * 2
    before = counts()
    with pytest.raises(ImportRefused, match=r"2 rows have a problem.*row 6, column accepted: “perhaps”") as refused:
        imported(bad, wanted={"accepted": "accepted"})
    assert [problem.row for problem in refused.value.problems] == [6, 7]
    assert counts() == before
    report = imported(bad, wanted={"accepted": "accepted"}, leave_out=True)
    assert (report.answers, report.left_out) == (4, 2)


def test_an_import_that_breaks_off_leaves_nothing(monkeypatch) -> None:
    before = counts()

    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(AnswerRevision.objects, "bulk_create", full)
    with pytest.raises(OSError, match="No space left"):
        imported(PLAIN)
    assert counts() == before


@pytest.mark.django_db(transaction=True)
def test_pressed_twice_at_once_it_comes_in_once() -> None:
    """Whoever comes second finds it there, or is told that somebody is at it."""
    together, said = threading.Barrier(2), []

    def press() -> None:
        together.wait()
        try:
            said.append(imported(PLAIN).answers)
        except ImportRefused as refused:
            said.append(refused.sentence)
        finally:
            connection.close()

    threads = [threading.Thread(target=press) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 4 in said, said
    said.remove(4)
    assert said == [0] or "being imported by somebody else just now" in str(said[0]), said
    assert Answer.objects.count() == 4


def test_names_belong_to_one_study_and_one_owner() -> None:
    ada, bob = researcher(), researcher()
    ImageSetFactory(name="Taken")
    with pytest.raises(ImportRefused, match="a study or an image set “Taken” already"):
        imported(PLAIN, "Taken", owner=ada)
    with pytest.raises(ImportRefused, match="at most 120 characters"):
        imported(PLAIN, "x" * 121, owner=ada)
    imported(PLAIN, owner=ada)
    with pytest.raises(ImportRefused, match="of somebody else"):
        imported(PLAIN, owner=bob)


# --- pictures -------------------------------------------------------------------------------------------------


def test_pictures_come_from_a_set_that_has_them_by_name() -> None:
    birds = ImageSetFactory(name="birds")
    kept = ImageFactory(image_set=birds, name="wren/A.PNG")
    ImageFactory(image_set=birds, name="one/b.png")
    ImageFactory(image_set=birds, name="two/b.png")  # which of both is meant nobody knows
    ImageFactory(image_set=birds, name="c.png")
    report = imported(PLAIN, pictures=birds)
    assert (report.images, report.pictures) == (2, 1)
    a, b = report.study.image_set.images.order_by("name")
    assert (a.file.name, a.sha256, a.width) == (kept.file.name, kept.sha256, kept.width)
    assert a.file.read() == kept.file.read()
    assert not b.file
    assert ImageSet.objects.get(pk=birds.pk).images.count() == 4  # theirs stays as it was


def test_one_picture_under_two_names_is_kept_once() -> None:
    birds = ImageSetFactory(name="birds")
    ImageFactory(image_set=birds, name="a.png")
    report = imported(PLAIN.replace("b.png", "a.jpg"), pictures=birds)
    assert report.pictures == 1
    assert [bool(image.file) for image in report.study.image_set.images.order_by("name")] == [False, True]
    # A third name of the same picture, in a file that came later.
    later = PLAIN.replace("b.png", "a.jpg") + "Jane Doe,else/a.png,maps,Monarch,Monarch,1,0.75,1500\n"
    assert (imported(later, pictures=birds).images, report.study.image_set.images.exclude(file="").count()) == (1, 1)


# --- there and back -------------------------------------------------------------------------------------------


def exported(study: Study) -> list[dict[str, str]]:
    stream = io.StringIO()
    export_csv(study, stream)
    return list(csv.DictReader(io.StringIO(stream.getvalue())))


def test_an_export_comes_back_equal() -> None:
    """Everything but what names a row: the same figures, and the same again."""
    text = PLAIN.replace("a.png", "=a.png") + "Third,=a.png,maps,Monarch,Monarch,1,,\n"
    study = imported(text).study
    stream = io.StringIO()
    export_csv(study, stream)
    back = imported(stream.getvalue(), "Back").study
    names = ("study", "trial", "image", "answer", "image_sha256", "opened", "answered", "changed")
    rows = [[{name: value for name, value in row.items() if name not in names} for row in exported(one)]
            for one in (study, back)]  # fmt: skip
    assert rows[0] == rows[1]
    assert len(rows[0]) == 5
    assert figures(study, IMPORTED) == figures(back, IMPORTED)


def test_a_study_that_was_answered_here_comes_back_with_its_figures() -> None:
    images = make.images(3)
    ImageLabel.objects.filter(image=images[2]).update(index=2)  # the AI says something else there
    study = make.team(images=images, groups=[Group("bare"), Group("alike", (make.compare(images),))],
                      conditions="within", image_once=False, k=None, settings={"own_confidence": "scale"})  # fmt: skip
    for number in range(2):
        person = make.participant(study)
        while (step := next_step(person)).kind == "trial":
            accept = (step.assignment.pk + number) % 3 > 0
            payload = {"accept": accept, "confidence": 2 + number}
            submit(assignment=step.assignment, submission=uuid.uuid4(), payload=payload, duration_ms=1000 + number)
    stream = io.StringIO()
    export_csv(study, stream)
    back = imported(stream.getvalue(), "Back").study
    told = ("image_name", "duration_ms", "place", "condition", "ai_label", "ai_confidence", "ai_right", "accepted",
            "correct", "own_confidence", "phase", "counts")  # fmt: skip
    kept = [sorted(tuple(row[name] for name in told) for row in exported(one)) for one in (study, back)]
    assert kept[0] == kept[1]
    assert len(kept[0]) == 12
    names = ("accuracy", "over_reliance", "under_reliance", "accepted", "own_confidence", "median_seconds")
    here, there = (
        {one["condition"]: [one[name] for name in names] for one in figures(of, kinds)["conditions"]}
        for of, kinds in ((study, ["human"]), (back, IMPORTED))
    )
    assert here == there
    assert set(here) == {"bare", "alike"}
    assert back.conditions == "within"


# --- the command ----------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "published.csv"
    path.write_text(PLAIN)
    return path


def test_the_command_shows_and_writes_nothing_then_imports(file: Path, capsys) -> None:
    call_command("import_decisions", file, preview=True)
    shown = capsys.readouterr().out
    assert "4 rows, UTF-8, columns separated by comma" in shown
    assert "4 answers of 2 people about 2 images in 2 conditions" in shown
    assert "1 people, 2 answers, correct 100.00 % (AI right 100.00 % of 1, AI wrong 100.00 % of 1)" in shown
    assert "Nothing was written." in shown
    assert not Study.objects.exists()
    call_command("import_decisions", file, name="Published", owner=researcher().username)
    assert "4 answers of 2 people to 4 trials added" in capsys.readouterr().out
    assert Study.objects.get().owner is not None


def test_the_command_reads_columns_as_it_is_told(file: Path, capsys) -> None:
    call_command("import_decisions", file, map=["confidence=", "condition="])
    study = Study.objects.get(name="published")
    assert study.arms.count() == 0
    assert "confidence" not in study.trials.first().context
    with pytest.raises(CommandError, match="no column “who”"):
        call_command("import_decisions", file, name="Two", map=["person=who"])
    with pytest.raises(CommandError, match="There is no image set “birds”"):
        call_command("import_decisions", file, name="Two", images="birds")


def test_the_command_names_bad_rows(file: Path) -> None:
    file.write_text(PLAIN + "X,a.png,maps,Monarch,Monarch,perhaps,0.75,10\n")
    with pytest.raises(CommandError, match=r"row 6, column accepted: “perhaps” is neither true nor false\."):
        call_command("import_decisions", file, map=["accepted=accepted"])
    assert not Study.objects.exists()
    call_command("import_decisions", file, map=["accepted=accepted"], leave_out=True)
    assert Answer.objects.count() == 4


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"gone\.csv: the table cannot be read"):
        call_command("import_decisions", tmp_path / "gone.csv")
