"""Two published studies against their own files, counted here by hand with nothing but the csv module."""

import csv
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import pytest

from annotation.exchange.decisions import read_sheet
from annotation.exchange.decisions_guess import guess
from annotation.exchange.decisions_import import Imported, import_decisions
from annotation.exchange.decisions_rows import read_decisions
from annotation.models import Answer
from annotation.statistics.team import figures

pytestmark = pytest.mark.django_db
MEASURES = ("overall", "ai_right", "ai_wrong")


def imported(file: Path) -> Imported:
    sheet = read_sheet(file)
    reading = guess(sheet)
    return import_decisions(read_decisions(sheet, reading), reading, name=file.stem, owner=None, file=file.name)


def by_hand(file: Path, condition: str, ai_right: str, yes: str) -> dict[tuple[str, str], tuple[int, int, float]]:
    """(condition, measure) → correct answers, answers, mean over people of their own shares."""
    said: dict[tuple[str, str], dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    with file.open(newline="") as stream:
        for row in csv.DictReader(stream):
            right = row[ai_right] == yes
            for measure in ("overall", "ai_right" if right else "ai_wrong"):
                said[row[condition], measure][row["participant"]].append(row["user_correct"] == "1")
    return {
        key: (sum(map(sum, people.values())), sum(map(len, people.values())), fmean(map(fmean, people.values())))
        for key, people in said.items()
    }


def in_study(report: Imported) -> dict[tuple[str, str], tuple[int, int, float]]:
    found = figures(report.study, ["imported"])
    return {
        (one["condition"], measure): (
            one["accuracy"][measure]["correct"], one["accuracy"][measure]["answers"], one["accuracy"][measure]["mean"],
        )
        for one in found["conditions"]
        for measure in MEASURES
    }  # fmt: skip


def same(found: dict, expected: dict) -> None:
    assert set(found) == set(expected)
    for key, (correct, answers, mean) in expected.items():
        assert found[key][:2] == (correct, answers), key
        assert found[key][2] == pytest.approx(mean, abs=1e-12), key


def test_visual_correspondence_equals_a_count_by_hand(test_data: Path) -> None:
    """Everybody met one method in 30 trials, 15 of them with the AI right: the share over all answers and the mean over
    people are the same number here, overall and on either side."""
    file = test_data / "studies" / "visual_correspondence_cub.csv"
    report = imported(file)
    assert (report.answers, report.people, report.images, report.trials) == (10_860, 362, 1_850, 3_540)
    assert report.study.conditions == "between"
    found = in_study(report)
    same(found, by_hand(file, "method", "ai_correct", "1"))
    for correct, answers, mean in found.values():
        assert mean == pytest.approx(correct / answers, abs=1e-12)
    overall = {condition: round(100 * mean, 2) for (condition, measure), (_, _, mean) in found.items()
               if measure == "overall"}  # fmt: skip
    assert overall == {
        "CHM-Corr": 68.96, "EMD-Corr": 67.06, "CHM-NN": 65.46, "ResNet-50": 65.25, "kNN": 64.75, "EMD-NN": 63.89,
    }  # fmt: skip
    assert {answers for (_, measure), (_, answers, _) in found.items() if measure != "overall"} == {885, 900, 915}
    again = imported(file)
    assert (again.answers, again.already, again.otherwise) == (0, 10_860, 0)
    assert Answer.objects.count() == 10_860


def test_every_method_names_its_own_label(test_data: Path) -> None:
    """The same bird, another AI: what a trial says is what that method's column says."""
    file = test_data / "studies" / "visual_correspondence_cub.csv"
    columns = {"ResNet-50": "pred_resnet", "kNN": "pred_knn", "EMD-NN": "pred_emd", "EMD-Corr": "pred_emd",
               "CHM-NN": "pred_chm", "CHM-Corr": "pred_chm"}  # fmt: skip
    with file.open(newline="") as stream:
        told = {
            (row["method"], row["query"], row[columns[row["method"]]], float(row["ai_confidence"]))
            for row in csv.DictReader(stream)
        }
    study = imported(file).study
    rows = study.trials.values_list("arm__name", "image__name", "context")
    assert {(arm, image, said["class_name"], said["confidence"]) for arm, image, said in rows} == told


def test_attribution_maps_equal_a_count_by_hand(test_data: Path) -> None:
    """Everybody met one task in 30 trials, with the AI right in a number of them that differs between people: overall
    both ways of counting agree, on either side they need not."""
    file = test_data / "studies" / "effectiveness_attribution_maps.csv"
    report = imported(file)
    assert (report.answers, report.people, report.images) == (510, 17, 447)
    found = in_study(report)
    same(found, by_hand(file, "task", "right_answer", "Yes"))
    shares = {condition: (round(100 * mean, 1), round(100 * correct / answers, 1))
              for (condition, measure), (correct, answers, mean) in found.items() if measure == "overall"}  # fmt: skip
    assert shares == {"Natural_NNs": (76.7, 76.7), "Natural_GradCAM": (68.0, 68.0), "Dog_SOD_Test": (60.6, 60.6)}
    times = Answer.objects.order_by("duration_ms").values_list("duration_ms", flat=True)
    assert (times[0], times[509]) == (637, 134_515)
    assert Answer.objects.filter(assignment__trial__context__confidence=0.54).exists()  # 54 per cent
