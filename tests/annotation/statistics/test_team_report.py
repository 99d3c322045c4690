"""The analysis of a team study: what it adds to the figures, and what papers print of it."""

import csv
import io
import json

import pytest
from django.core.management import CommandError, call_command
from scipy import stats

from annotation.analysis import compute_now, pictures
from annotation.errors import StudyRefused
from annotation.flow import next_step
from annotation.models import Participant
from annotation.publishing import TrialItem, add_trials, close, publish, revise
from annotation.statistics import team, team_print
from annotation.statistics.alignment.holm import holm
from annotation.statistics.team_words import who
from annotation.studies.trials import Group
from mlcore.models import ImageLabel
from tests.annotation import factories as make
from tests.annotation.statistics.test_team import said
from tests.annotation.test_team import ACCEPT, REJECT, send
from tests.annotation.voices import predicted, speaking


def test_p_values_are_scipys_and_corrected_together():
    first = said(1, "R+ W+", "map") + said(2, "R+ W-", "map") + said(3, "R+ R+", "map") + said(9, "W- W+", "map")
    second = said(4, "R- W+", "none") + said(5, "R+ W+", "none") + said(6, "R- W-", "none")
    third = said(7, "R+ W+", "parts") + said(8, "R+ W-", "parts")
    found = team.differences({"map": first, "none": second, "parts": third}, paired=False)
    overall = found[0]
    wanted = stats.ttest_ind([0.5, 1, 1, 0.5], [0, 0.5, 0.5], equal_var=False)
    assert overall["p"] == pytest.approx(wanted.pvalue)
    assert [one["p_holm"] for one in found] == holm([one["p"] for one in found])
    assert {(one["first"], one["second"]) for one in found} == {("map", "none"), ("map", "parts"), ("none", "parts")}
    declared = team.differences({"map": first, "none": second, "parts": third}, paired=False, compared="first")
    assert [(one["first"], one["second"]) for one in declared[::3]] == [("none", "map"), ("parts", "map")]
    assert declared[0]["p"] == pytest.approx(overall["p"])


def test_paired_p_values_are_those_of_the_differences():
    first = said(1, "R+ W+", "map") + said(2, "R+ W-", "map") + said(3, "R+ W+", "map")
    second = said(1, "R- W+", "none") + said(2, "R+ W+", "none") + said(3, "R+ W+", "none")
    overall = team.differences({"map": first, "none": second}, paired=True)[0]
    assert overall["p"] == pytest.approx(stats.ttest_1samp([0.5, 0.5, 0], 0).pvalue)


def test_team_accuracies_are_compared_each_with_its_own_p():
    first, second = (
        said(1, "R+ W+", "map") + said(2, "R+ W-", "map"),
        said(3, "R+ W-", "none") + said(4, "R- W-", "none"),
    )
    found = team.differences({"map": first, "none": second}, paired=False, p={"map": 0.9, "none": 0.6})
    gap = next(one for one in found if one["measure"] == "team")
    # map: 0.9 and 1; none: 1 and 0.4
    assert gap["mean"] == pytest.approx(0.95 - 0.7)
    assert (gap["p"], gap["p_holm"]) == (None, None)


@pytest.fixture
def study(db):
    """Between people: the head, the neighbours with a vote of their own, people alone; two attention checks."""
    images = make.images(6)
    ImageLabel.objects.filter(image__in=images[3:]).update(index=2)
    classifier = make.ClassifierFactory()
    predicted(classifier, images, [(1, 0.9)] * 5 + [(2, 0.8)])
    near = speaking(images, [(1, 0.9)] * 6, classifier)
    groups = [Group("head"), Group("near", (near,)), Group("alone", alone=True)]
    made = make.team(
        images=images, groups=groups, k=None, live=False, name="birds",
        plan={"checks": {"allowed_misses": 0}, "replace": []},
        settings={"compared": "first"},
    )  # fmt: skip
    add_trials(made, None, "check", [TrialItem(images[0], gold={"accept": True})])
    return publish(made, None)


def answer(study, number: int, kind: str = "human", misses: bool = False) -> None:
    arms = list(study.arms.all())
    for place in range(number):
        person = make.participant(study, kind=kind, arm=arms[place % len(arms)])
        while (step := next_step(person)).kind == "trial":
            trial = step.assignment.trial
            payload = REJECT if trial.phase == "check" and misses else ACCEPT
            if trial.phase == "main" and trial.image.name.endswith(("1.png", "3.png")):
                payload = REJECT
            send(step.assignment, payload, duration_ms=1500 + person.pk % 7)


def test_a_report_is_plain_and_names_whose_figures_it_has(study):
    answer(study, 6, kind=Participant.Kind.SIMULATED)
    found = compute_now(study, ["simulated"])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["people"] == {"simulated": 6}
    assert found["text"][0] == "6 simulated people gave 36 answers."
    assert [one["ai"]["accuracy"] for one in found["conditions"]] == [4 / 6, 3 / 6, 4 / 6]
    assert {(one["first"], one["second"]) for one in found["differences"]} == {("near", "head"), ("alone", "head")}
    assert all(one["seconds"]["mean"] == pytest.approx(1.5, abs=0.01) for one in found["conditions"])
    drawn = pictures("team", found)
    assert set(drawn) == {(name, form) for name in ("accuracy", "team") for form in ("svg", "pdf", "png")}
    for name in ("accuracy", "team"):
        text = drawn[name, "svg"].decode()
        assert "6 simulated people" in text.replace("\n", " ")
        assert "people alone" in text or name == "accuracy"
    assert pictures("team", found) == drawn, "the same figures give the same files"


def test_who_missed_checks_is_left_out_in_a_second_look(study):
    answer(study, 4)
    assert compute_now(study, ["human"])["without"] is None
    answer(study, 2, misses=True)
    found = compute_now(study, ["human"])
    missed = [person.pseudonym for person in study.participants.order_by("pk")][4:]
    assert (found["without"]["rule"], found["without"]["people"]) == ("checks", sorted(missed))
    assert sum(one["people"] for one in found["conditions"]) == 6
    assert sum(one["people"] for one in found["without"]["conditions"]) == 4
    named = compute_now(study, ["human"], without=missed[:1])["without"]
    assert (named["rule"], named["people"]) == ("named", missed[:1])
    with pytest.raises(StudyRefused, match="Nobody in this study is called “P-none”"):
        compute_now(study, ["human"], without=["P-none"])


def test_what_was_declared_when_it_was_published_counts(study):
    revise(study, None, settings={"compared": "pairs"})
    assert study.version.settings["compared"] == "pairs"
    assert compute_now(study, ["human"])["compared"] == "first"


def test_the_files_hold_every_condition(study):
    answer(study, 3)
    found = compute_now(study, ["human"])
    table = team_print.table(found)
    assert table.count(r"\\") == 1 + 3
    assert all(line.count("&") == 11 for line in table.splitlines() if line.endswith(r"\\"))
    rows = list(csv.DictReader(io.StringIO(team_print.conditions(found))))
    assert [row["condition"] for row in rows] == ["head", "near", "alone"]
    assert [row["alone"] for row in rows] == ["false", "false", "true"]
    assert float(rows[1]["ai_accuracy"]) == 0.5
    assert len(list(csv.DictReader(io.StringIO(team_print.comparisons(found))))) == len(found["differences"])
    people = list(csv.DictReader(io.StringIO(team_print.people(found))))
    assert len(people) == 3
    assert {row["kind"] for row in people} == {"human"}


def test_the_command_writes_what_the_page_shows(study, tmp_path, capsys):
    answer(study, 3)
    close(study, None)
    call_command(
        "analyse", str(study.uuid), "--latex", str(tmp_path / "t.tex"), "--csv", str(tmp_path / "csv"),
        "--figure", str(tmp_path / "any.svg"), "--figure", str(tmp_path / "team.pdf"),
    )  # fmt: skip
    told = capsys.readouterr().out
    assert "3 people gave 18 answers." in told
    assert "AI alone" in told
    assert sorted(one.name for one in (tmp_path / "csv").iterdir()) == [
        "comparisons.csv",
        "conditions.csv",
        "people.csv",
    ]
    assert (tmp_path / "any.svg").read_bytes() == pictures("team", compute_now(study, ["human"]))["accuracy", "svg"]
    assert (tmp_path / "team.pdf").read_bytes().startswith(b"%PDF")
    ratings = make.ratings(1)
    with pytest.raises(CommandError, match="neither a preference nor a team study"):
        call_command("analyse", str(ratings.uuid))


def test_a_study_that_nobody_answered_has_a_report(study):
    found = compute_now(study, ["human"])
    assert found["text"] == ["Nobody has answered yet."]
    assert set(pictures("team", found)) == {("accuracy", form) for form in ("svg", "pdf", "png")}
    assert team_print.table(found).count("--") > 10


def test_people_are_named_by_kind():
    assert who({}) == "nobody"
    assert who({"human": 1}) == "1 person"
    assert who({"simulated": 5}) == "5 simulated people"
    assert who({"human": 2, "imported": 3}) == "5 people (2 human, 3 imported)"
