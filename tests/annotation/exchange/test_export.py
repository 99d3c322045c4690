"""A study leaves as CSV and JSON: pseudonyms only, in constant memory, with a codebook."""

import csv
import io
import json
import uuid

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from annotation.answers import submit
from annotation.exchange import export
from annotation.exchange.rows import PIECE, run_lengths
from annotation.flow import enter_as, next_step
from annotation.models import Answer, AnswerRevision, Assignment, Judgement, Participant, Stimulus
from annotation.studies import kind_of
from mlcore.models import Image
from tests.annotation import factories as make

pytestmark = pytest.mark.django_db


def play(person, **values) -> None:
    while (step := next_step(person)).kind == "trial":
        page = step.assignment
        payload = make.rating(page) if page.order else {}
        submit(assignment=page, submission=uuid.uuid4(), payload=payload, **values)


def as_csv(study, **values) -> list[dict[str, str]]:
    stream = io.StringIO(newline="")
    number = export.export_csv(study, stream, **values)
    stream.seek(0)
    rows = list(csv.DictReader(stream))
    assert len(rows) == number
    return rows


def test_a_row_a_map_with_what_was_seen_and_said():
    study = make.ratings(2, sets=2)
    user = make.annotator(username="real-name")
    from annotation.flow import enter

    person = enter(user, study)
    play(person, duration_ms=1500)
    rows = as_csv(study)
    assert len(rows) == 4
    assert list(rows[0]) == [column.name for column in export.columns(study)]
    for row in rows:
        page = Assignment.objects.get(trial__uuid=row["trial"])
        stimulus = Stimulus.objects.get(trial=page.trial, slot=row["slot"])
        assert page.order[int(row["position"])] == stimulus.slot
        assert row["condition"] == stimulus.condition
        assert row["classifier"] == str(stimulus.explanation.set.classifier.uuid)
        assert (row["necessary"], row["unnecessary"], row["quality"], row["reasonable"]) == (
            "true",
            "false",
            "4",
            "true",
        )
        assert (row["participant"], row["participant_kind"]) == (person.pseudonym, "human")
        assert (row["duration_ms"], row["revision"], row["shown_class"]) == ("1500", "1", "Monarch")
    assert "real-name" not in str(rows)


def test_a_row_a_drawing_and_its_pixels_in_json():
    study = make.drawings(1, k=2)
    play(make.participant(study), drawing=make.drawing(3))
    page = next_step(make.participant(study)).assignment
    submit(assignment=page, submission=uuid.uuid4(), payload={"nothing": True})
    first, second = as_csv(study)
    assert (first["share"], first["width"], first["height"], first["nothing"]) == ("0.25", "12", "8", "false")
    assert (second["share"], second["map_file"], second["nothing"]) == ("", "", "true")
    stream = io.StringIO()
    assert export.export_json(study, stream) == 2
    found = json.loads(stream.getvalue())
    assert found["answers"][0]["map_rle"] == {"size": [8, 12], "counts": [0, 24, 72]}
    assert found["answers"][1]["map_rle"] is None
    assert found["study"]["kind"] == "map_drawing"
    assert found["statistics"]["maps"] == 1
    assert {item["column"] for item in found["codebook"]} <= set(found["answers"][0])
    assert all(item["meaning"] for item in found["codebook"])


def test_an_empty_study_leaves_as_valid_files():
    for study in (make.ratings(1), make.drawings(1)):
        assert as_csv(study) == []
        stream = io.StringIO()
        assert export.export_json(study, stream) == 0
        assert json.loads(stream.getvalue())["answers"] == []


def test_kinds_are_named_in_each_row_and_can_be_chosen():
    study = make.ratings(1, k=None)
    play(make.participant(study))
    play(enter_as(study, "scripted-1", "simulated"))
    assert [row["participant_kind"] for row in as_csv(study)] == ["human", "simulated"]
    assert [row["participant_kind"] for row in as_csv(study, kinds=("simulated",))] == ["simulated"]
    stream = io.StringIO()
    export.export_json(study, stream)
    assert json.loads(stream.getvalue())["statistics"]["people"] == {"human": 1}


def test_maps_of_models_that_disagree_name_their_own_class():
    images = make.images(1)
    sets = [make.explain(images, target=1), make.explain(images, target=2)]
    study = make.ratings(images=images, explanation_sets=sets)
    play(make.participant(study))
    assert {row["slot"]: row["shown_class"] for row in as_csv(study)} == {"0": "Monarch", "1": "Zebra"}


def test_a_spreadsheet_runs_nothing():
    study = make.ratings(1)
    Image.objects.update(name='=HYPERLINK("http://example.org")')
    play(make.participant(study))
    assert as_csv(study)[0]["image_name"].startswith("'=")


def test_run_lengths_go_column_by_column_and_begin_with_zeros():
    mask = np.array([[0, 1], [1, 1]], dtype=bool)
    assert run_lengths(mask) == {"size": [2, 2], "counts": [1, 3]}
    assert run_lengths(~mask)["counts"] == [0, 1, 3]
    assert run_lengths(np.zeros((2, 3), dtype=bool))["counts"] == [6]
    assert run_lengths(np.ones((2, 3), dtype=bool))["counts"] == [0, 6]
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((5, 7)) < 0.5
        back = np.concatenate([np.full(n, i % 2) for i, n in enumerate(run_lengths(mask)["counts"])])
        assert (mask == back.reshape(7, 5).T).all()


def many(study, number: int) -> None:
    """So many answers to the one trial, written directly."""
    trial, now = study.trials.get(), study.published
    people = Participant.objects.bulk_create(
        Participant(study=study, pseudonym=f"p{i}", order_offset=i) for i in range(number)
    )
    pages = Assignment.objects.bulk_create(
        Assignment(participant=p, trial=trial, state="answered", order=[0], lease_until=now, answered=now)
        for p in people
    )
    answers = Answer.objects.bulk_create(
        Answer(assignment=page, version=study.version, submission=uuid.uuid4()) for page in pages
    )
    stimulus = trial.stimuli.get()
    said = (("necessary", {"truth": True}), ("unnecessary", {"truth": False}), ("quality", {"number": 3}))
    Judgement.objects.bulk_create(
        Judgement(answer=answer, stimulus=stimulus, question=question, **value)
        for answer in answers
        for question, value in said
    )


def test_an_export_is_read_in_pieces_and_holds_one_at_a_time(django_assert_num_queries):
    study = make.ratings(1, k=None)
    many(study, PIECE + 7)
    rows = kind_of(study).export_rows(export.answers_of(study))
    with django_assert_num_queries(3):  # the first piece: answers, maps, judgements
        for _ in range(PIECE):
            next(rows)
    with django_assert_num_queries(4):  # the second, and the look that finds no third
        assert len(list(rows)) == 7


def test_statistics_leave_as_tables():
    study = make.ratings(1)
    play(make.participant(study))
    stream = io.StringIO(newline="")
    export.export_statistics_csv(study, stream)
    text = stream.getvalue()
    assert text.startswith("Answers of,human")
    assert "Reasonability matrix" in text
    assert "Reasonable, accurate" in text
    stream = io.StringIO()
    export.export_statistics_json(study, stream)
    assert json.loads(stream.getvalue())["statistics"]["answers"] == 1


def test_the_command_writes_files_and_refuses_in_sentences(tmp_path, capsys):
    study = make.ratings(1, name="Butterflies")
    play(make.participant(study))
    for options, name in (([], "a.csv"), (["--format", "json"], "a.json"), (["--codebook"], "c.csv"),
                          (["--statistics"], "s.csv"), (["--statistics", "--format", "json"], "s.json")):  # fmt: skip
        call_command("export_study", "Butterflies", *options, "--output", str(tmp_path / name))
        assert (tmp_path / name).stat().st_size > 50
    assert len(list(csv.DictReader((tmp_path / "a.csv").open(newline="")))) == 1
    out = io.StringIO()
    call_command("export_study", str(study.uuid), stdout=out)
    assert out.getvalue().splitlines()[0].startswith("study,version,trial")
    with pytest.raises(CommandError, match="“Butterflies”"):
        call_command("export_study", "Moths")
    make.ratings(1, name="Butterflies")
    with pytest.raises(CommandError, match="2 studies"):
        call_command("export_study", "Butterflies")
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("export_study", str(study.uuid), "--output", str(tmp_path / "no" / "a.csv"))


def test_revisions_are_told_by_their_number():
    study = make.ratings(1)
    person = make.participant(study)
    page = next_step(person).assignment
    submit(assignment=page, submission=uuid.uuid4(), payload=make.rating(page))
    submit(assignment=page, submission=uuid.uuid4(), payload=make.rating(page, quality=2), base_revision=1)
    (row,) = as_csv(study)
    assert (row["revision"], row["quality"]) == ("2", "2")
    assert AnswerRevision.objects.count() == 2
