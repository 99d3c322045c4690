"""The released application's rows as a study: everything once, nobody's name, and the same again adds nothing."""

import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from PIL import Image as Pillow

from annotation.exchange.export import answers_of
from annotation.exchange.harmony_app import read
from annotation.exchange.harmony_app_import import import_released
from annotation.models import Answer, AnswerRevision, Judgement, Participant, Stimulus, Study, Trial
from annotation.statistics.preference import figures
from annotation.studies import kind_of
from mlcore.exchange.render import scaled_map, thumbnail
from mlcore.exchange.report import ImportRefused
from mlcore.models import AuditEntry, Explanation, Image

pytestmark = pytest.mark.django_db
FOLDER = "learnable_metric_image_data_fast/ImageNet/{}/VGG/GradCamAttributor"


def _path(experiment: str, number: int, what: str) -> str:
    return f"{FOLDER.format(experiment)}/{number}_{what}.png"


def _example(number: int, experiment: int, name: str) -> dict[str, Any]:
    return {
        "model": "relevavance.example", "pk": number,
        "fields": {
            "dataset": 1, "experiment": experiment, "cnn_model": 1, "relevancy_method": 1, "prediction": "tusker",
            **{what: _path(name, number, what) for what in ("image", "original", "learn")},
        },
    }  # fmt: skip


def _label(number: int, example: int, user: int, choice: str) -> dict[str, Any]:
    return {"model": "relevavance.label", "pk": number, "fields": {"choice": choice, "example": example, "user": user}}


ROWS = [
    {"model": "relevavance.experiment", "pk": 5, "fields": {"name": "IoULearnableMetric"}},
    {"model": "auth.user", "pk": 7, "fields": {"username": "Jane Doe"}},
    {"model": "auth.user", "pk": 9, "fields": {"username": "John Roe"}},
    _example(1, 5, "IoULearnableMetric"),
    _example(2, 5, "IoULearnableMetric"),
    _example(3, 4, "FocusLearnableMetric"),  # experiment 4 is looked up nowhere: its path says it
    _label(11, 1, 7, "learn"),
    _label(12, 1, 9, "original"),
    _label(13, 2, 7, "neither"),
    _label(14, 3, 9, "learn"),
    _label(15, 1, 7, "original"),  # again, and otherwise: the first counts
    _label(16, 2, 7, "neither"),  # again the same
    _label(17, 99, 7, "learn"),  # of nothing
]


@pytest.fixture
def fixture(tmp_path: Path) -> Path:
    file = tmp_path / "fixture.json"
    file.write_text(json.dumps(ROWS))
    return file


def _shares(study: Study) -> dict[str, dict[str, int]]:
    return {cell["cell"]: cell["counts"] for cell in figures(study, ["imported"])["cells"]}


def test_examples_labels_and_raters_come_in_once(fixture: Path) -> None:
    report = import_released(read([fixture]), name="Released", owner=None)
    assert (report.examples, report.raters, report.labels) == (3, 2, 4)
    assert (report.repeated, report.contradicting, report.without_example) == (2, 1, 1)
    study = Study.objects.get(name="Released")
    assert study.state == Study.State.CLOSED
    assert _shares(study) == {
        "focus · VGG · grad_cam · ImageNet": {"first": 0, "neither": 0, "second": 1},
        "rma · VGG · grad_cam · ImageNet": {"first": 1, "neither": 1, "second": 1},
    }
    assert {row.condition for row in Stimulus.objects.all()} == {"original", "tuned"}
    groups = study.version.settings["groups"]
    assert [(group["metric"], group["method"], group["classifier"]) for group in groups] == [
        ("focus", "grad_cam", "VGG"), ("rma", "grad_cam", "VGG"),
    ]  # fmt: skip

    again = import_released(read([fixture]), name="Released", owner=None)
    assert (again.examples, again.raters, again.labels, again.already) == (0, 0, 0, 4)
    assert Answer.objects.count() == AnswerRevision.objects.count() == Judgement.objects.count() == 4
    assert AuditEntry.objects.filter(action="study.import_harmony_app").count() == 1


def test_labels_that_came_later_are_added(fixture: Path) -> None:
    fixture.write_text(json.dumps(ROWS[:-5]))
    import_released(read([fixture]), name="Released", owner=None)
    fixture.write_text(json.dumps([*ROWS, _example(4, 5, "IoULearnableMetric"), _label(18, 4, 9, "neither")]))
    more = import_released(read([fixture]), name="Released", owner=None)
    assert (more.examples, more.raters, more.labels, more.already) == (1, 0, 3, 2)
    assert Trial.objects.filter(study=more.study).count() == more.study.arms.get(position=0).main_trials + 3


def test_nobody_is_told_by_name_nor_by_a_hash_that_others_share(fixture: Path) -> None:
    first = import_released(read([fixture]), name="One", owner=None).study
    second = import_released(read([fixture]), name="Other", owner=None).study
    people = list(Participant.objects.order_by("pk"))
    assert {person.kind for person in people} == {"imported"}
    assert [person.pseudonym for person in people] == ["rater-001", "rater-002"] * 2
    assert not any(name in str(vars(person)) for person in people for name in ("Jane", "John", "Doe", "Roe"))
    marks = [set(study.participants.values_list("external_id", flat=True)) for study in (first, second)]
    assert not marks[0] & marks[1]


def test_sides_are_not_known_and_no_figure_pretends(fixture: Path) -> None:
    study = import_released(read([fixture]), name="Released", owner=None).study
    position = figures(study, ["imported"])["overall"]["position"]
    assert (position["left"], position["right"], position["share_left"]) == (0, 0, None)
    rows = list(kind_of(study).export_rows(answers_of(study)))
    assert {(row["left"], row["right"]) for row in rows} == {(None, None)}
    assert Counter(row["side"] for row in rows) == {None: 3, "neither": 1}
    assert {row["first_classifier"] for row in rows} == {None}
    assert thumbnail(Image.objects.first(), 64).size == (64, 64)  # type: ignore[arg-type]


def test_pictures_come_with_their_maps(fixture: Path, tmp_path: Path) -> None:
    media = tmp_path / "media-of-theirs"
    rng = np.random.default_rng(0)
    for number, name in ((1, "IoULearnableMetric"), (2, "IoULearnableMetric"), (3, "FocusLearnableMetric")):
        folder = media / FOLDER.format(name)
        folder.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(media / _path(name, number, "image"))
        for what in ("original", "learn"):
            red = np.full((24, 24, 3), 255, np.uint8)
            red[..., 1:] = np.linspace(255, 0 if what == "learn" else 51, 24, dtype=np.uint8)[:, None]
            Pillow.fromarray(red).save(media / _path(name, number, what))
    report = import_released(read([fixture]), name="Released", owner=None, media=media)
    assert report.pictures == 3
    stimulus = Stimulus.objects.get(trial__image__name=_path("IoULearnableMetric", 1, "image"), condition="original")
    assert stimulus.explanation is not None
    assert stimulus.explanation.maximum == pytest.approx(0.8)
    assert scaled_map(stimulus.explanation, (24, 24))[0] == pytest.approx(np.linspace(0, 1, 24), abs=0.01)
    assert Explanation.objects.count() == 6
    again = import_released(read([fixture]), name="Released", owner=None, media=media)
    assert (again.examples, again.labels) == (0, 0)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not JSON"),
        ("{}", "is not a fixture"),
        ('[{"model": "x"}]', "entry 1: model, pk and fields"),
        ("[]", "There is no relevavance.example"),
        (json.dumps([_example(1, 5, "IoULearnableMetric"), _label(2, 1, 7, "both")]), "Label 2: “both” is not one of"),
    ],
)
def test_what_is_no_fixture_is_said_and_nothing_is_written(tmp_path: Path, content: str, sentence: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(content)
    with pytest.raises(CommandError, match=sentence):
        call_command("import_harmony_app", file, name="Bad")
    assert not Study.objects.exists()


def test_a_picture_that_is_missing_leaves_nothing(fixture: Path, tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="is not in the folder of pictures"):
        import_released(read([fixture]), name="Released", owner=None, media=tmp_path)
    assert not Study.objects.exists()
    assert not Image.objects.exists()


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / "other.sqlite3"
    sqlite3.connect(file).execute("create table t (a)").connection.commit()
    with pytest.raises(ImportRefused, match="is not a database of harmony_app"):
        read([file])


def test_the_released_database_equals_its_own_count(test_data: Path) -> None:
    """3,000 examples and 15,004 labels less the repeats, of which the first counts; each cell counted by SQL."""
    file = test_data / "studies" / "harmony_app_vgg.sqlite3"
    report = import_released(read([file]), name="Released", owner=None)
    assert (report.examples, report.raters, report.labels, report.repeated) == (3000, 5, 15_000, 4)
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        counted = connection.execute(
            "select x.name, m.name, l.choice, count(*) from relevavance_label l "
            "join relevavance_example e on e.id = l.example_id "
            "join relevavance_experiment x on x.id = e.experiment_id "
            "join relevavance_relevancymethod m on m.id = e.relevancy_method_id "
            "where l.id in (select min(id) from relevavance_label group by user_id, example_id) group by 1, 2, 3"
        ).fetchall()
    said = {(row["metric"], row["method"]): row["name"] for row in report.study.version.settings["groups"]}
    shares = _shares(report.study)
    names = {"IoULearnableMetric": "rma", "ROADLearnableMetric": "road", "IROFLearnableMetric": "irof",
             "ISLearnableMetric": "input_stability", "FocusLearnableMetric": "focus"}  # fmt: skip
    methods = {"GradCamAttributor": "grad_cam", "GuidedBackpropAttributor": "guided_backprop",
               "ExcitationBackpropAttributor": "excitation_backprop"}  # fmt: skip
    places = {"original": "first", "neither": "neither", "learn": "second"}
    assert len(shares) == 15
    for experiment, method, choice, number in counted:
        assert shares[said[names[experiment], methods[method]]][places[choice]] == number
    rma = shares[said["rma", "grad_cam"]]
    assert [round(100 * rma[key] / 1000, 1) for key in ("second", "first", "neither")] == [62.3, 3.9, 33.8]
