"""The page, the downloads and the form of a report: figures as stored, the best marked, published rows apart."""

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from django.urls import reverse
from django.utils import timezone

from mlcore.admin import run_form
from mlcore.catalogue import METRICS, clean
from mlcore.catalogue.recipes import baselines
from mlcore.models import Classifier, ExplanationSet, Run, Score
from mlcore.runs.report import Report, report_of
from mlcore.runs.report_tables import csv_text, latex_text
from tests.annotation.factories import explain, researcher
from tests.mlcore.admin.scored import Scored, make_scored, write_score

pytestmark = pytest.mark.django_db
NAMES = ("pointing", "content_heat_map", "average_drop")


@pytest.fixture
def made(db) -> Scored:
    return make_scored(number=6, methods=("grad_cam", "lrp", "centre", "random"))


@pytest.fixture
def run(made) -> Run:
    """Two classifiers, an AlexNet and one that nobody has published: by two methods and the baselines."""
    Classifier.objects.filter(pk=made.classifier.pk).update(name="A & B_1", architecture="alexnet")
    first = Classifier.objects.get(pk=made.classifier.pk)
    other = Classifier.objects.get(pk=first.pk)
    other.pk, other.uuid, other.name, other.run = None, uuid4(), "=other", None
    other.architecture = "sixconv"
    other.save()
    now = timezone.now()
    recipe = clean("report", {"methods": "grad_cam,lrp", "metrics": ",".join(NAMES), "part": "all"})
    made_run = Run.objects.create(
        name="compared", kind="report", owner=made.owner, image_set=made.image_set, state="succeeded", started=now,
        ended=now, recipe=recipe, manifest={"all": [[str(one.uuid), place % 2, ""] for place, one in enumerate(
            made.images)]},
    )  # fmt: skip
    made_run.classifiers.add(other)
    made_run.classifiers.add(first)
    for place, classifier in enumerate((other, first)):
        sets = list(made.sets.values())
        if place == 0:
            maps = np.zeros((6, 4, 6), dtype=np.float32)
            sets = [
                explain(made.images, maps=maps, owner=made.owner, method=name, classifier=other, predict=False)
                for name in made.sets
            ]
        for number, one in enumerate(sets):
            made_run.explanation_sets.add(one)
            values = {str(image.uuid): float((at + number + place) % 3 > 0) for at, image in enumerate(made.images)}
            write_score(made_run, one, "pointing", values)
            part = {name: (at + number) / 20 for at, name in enumerate(list(values)[:-1])}
            write_score(made_run, one, "content_heat_map", part, left_out={"no mask or box": 1})
            write_score(made_run, one, "average_drop", dict.fromkeys(values, 10.0 * number + 40 * place))
        Score.objects.create(
            run=made_run, classifier=classifier, part="all", metric="accuracy", value=0.5 + place / 4, low=0.4,
            high=0.9, n=6, per_image={str(image.uuid): float(at < 3 + place) for at, image in enumerate(made.images)},
        )  # fmt: skip
    return made_run


@pytest.fixture
def opened(made, client):
    client.force_login(made.owner)

    def get(run: Run, name: str = "change", **query) -> str:
        answer = client.get(reverse(f"admin:mlcore_run_{name}", args=[run.pk]), query)
        assert answer.status_code == 200
        return answer.content.decode()

    return get


def row_of(report: Report, classifier: str, method: str):
    return next(
        row for row in report.everything
        if (row.explained.classifier.name, row.explained.method) == (classifier, method)
    )  # fmt: skip


def test_rows_and_columns_stand_as_they_were_chosen(run) -> None:
    report = report_of(run)
    assert [column.name for column in report.columns] == ["accuracy", *NAMES]
    assert [(row.who, row.explained.method) for row in report.rows] == [
        ("=other", "grad_cam"), ("=other", "lrp"), ("A & B_1", "grad_cam"), ("A & B_1", "lrp"),
    ]  # fmt: skip
    assert [(row.who, row.explained.method) for row in report.baselines] == [
        ("=other", "centre"), ("=other", "random"), ("A & B_1", "centre"), ("A & B_1", "random"),
    ]  # fmt: skip
    assert [cell.value for cell in report.rows[0].cells][:2] == ["50.0", "66.7"]  # shares in per cent
    assert [cell.value for cell in report.rows[0].cells][3] == "0.0"
    assert not any(cell.best for row in report.baselines for cell in row.cells)
    assert report.baselines[0].cells[0].score is None  # a baseline has no accuracy
    best = {(row.who, row.method): [cell.best for cell in row.cells] for row in report.rows}
    assert best["A & B_1", "LRP ε+"] == [True, False, True, False]
    assert best["=other", "Grad-CAM"][3]  # of average drop the lowest
    assert all(not cells[1] for cells in best.values())  # all equal: nobody is best


def test_a_baseline_that_nobody_was_asked_about_holds_for_any_classifier(run) -> None:
    Run.objects.filter(pk=run.pk).update(recipe=run.recipe | {"metrics": ["pointing"]})
    run.explanation_sets.remove(*ExplanationSet.objects.filter(classifier__name="=other", method__in=baselines()))
    run.scores.filter(metric="average_drop").delete()
    report = report_of(Run.objects.get(pk=run.pk))
    assert [row.title for row in report.baselines] == [
        "any classifier · Centre (baseline)", "any classifier · Random (baseline)",
    ]  # fmt: skip


def test_differences_are_paired_over_images(run) -> None:
    reference = row_of(report_of(run), "=other", "grad_cam")
    report = report_of(run, against=reference.key)
    row = row_of(report, "A & B_1", "lrp")
    assert report.against.key == reference.key
    assert all(cell.apart is None for cell in row_of(report, "=other", "grad_cam").cells)
    assert [cell.difference for cell in row.cells] == ["+16.7", "+0.0", "+5.0", "+50.0"]
    accuracy, _, content, drop = (cell.apart for cell in row.cells)
    assert (accuracy.n, content.n) == (6, 5)
    assert (drop.low, drop.high, drop.clear) == (50.0, 50.0, True)
    assert not accuracy.clear
    # One classifier's accuracy does not differ from itself.
    assert row_of(report, "=other", "lrp").cells[0].apart is None
    assert report_of(run, against="nonsense").against is None


def test_a_click_sorts_by_the_better_end_and_turns(run) -> None:
    def order(**asked) -> list[str]:
        return [f"{row.who} {row.explained.method}" for row in report_of(run, **asked).rows]

    assert order(sort="average_drop")[0] == "=other grad_cam"
    assert order(sort="average_drop", order="down")[0] == "A & B_1 lrp"
    assert order(sort="accuracy")[0].startswith("A & B_1")
    assert order(order="down") == order()[::-1]
    column = report_of(run, sort="average_drop").columns[3]
    assert (column.sorted, column.order) == ("ascending", "down")


def test_the_page_shows_figures_intervals_and_what_was_left_out(run, opened) -> None:
    shown = opened(run)
    assert "A &amp; B_1" in shown
    assert "61.7 to 71.7" in shown
    assert "n 5, 1 left out" in shown
    assert "1: no mask or box" in shown
    assert '<small class="h-word">best</small>' in shown
    assert "Baselines: they look at no classifier" in shown
    assert "are of the true class here" in shown
    for figure in ("56.51", "72.8", "45.78", "trained with grid consistency"):
        assert figure in shown
    assert "AAAI 2021" in shown
    key = row_of(report_of(run), "=other", "grad_cam").key
    compared = opened(run, against=key, sort="pointing")
    assert "+50.0 (+50.0 to +50.0)" in compared
    assert f"?against={key}&amp;sort=accuracy&amp;order=down" in compared
    assert "all others are compared with this one" in compared
    assert 'aria-sort="descending"' in compared
    assert f"report.csv?against={key}&amp;sort=pointing" in compared


def test_runs_side_by_side_show_recipes_and_no_figure_of_several_classifiers(made, run, client) -> None:
    client.force_login(made.owner)
    page = client.get(reverse("admin:mlcore_run_compare"), {"run": [run.pk, made.run.pk]}).content.decode()
    assert "compared" in page
    assert "0.750" not in page
    assert "75.0 %" not in page


def test_a_run_without_a_report_has_no_downloads(made, run, client) -> None:
    client.force_login(made.owner)
    assert report_of(made.run) is None
    assert client.get(reverse("admin:mlcore_run_report_csv", args=[made.run.pk])).status_code == 404
    run.scores.all().delete()
    assert report_of(run) is None
    assert (
        "This run measured no score" in client.get(reverse("admin:mlcore_run_change", args=[run.pk])).content.decode()
    )
    client.force_login(researcher())
    assert client.get(reverse("admin:mlcore_run_report_latex", args=[run.pk])).status_code == 404


def test_csv_has_a_line_for_each_figure_and_nothing_published(run, opened) -> None:
    key = row_of(report_of(run), "=other", "grad_cam").key
    rows = list(csv.DictReader(io.StringIO(opened(run, "report_csv", against=key))))
    assert len(rows) == 2 + 2 * 4 * 3
    assert {row["classifier"] for row in rows} == {"'=other", "A & B_1"}  # no spreadsheet runs it
    one = next(row for row in rows if row["method"] == "lrp" and row["metric"] == "content_heat_map")
    assert (one["n"], one["left_out"], one["better"], one["unit"], one["baseline"], one["part"]) == (
        "5", "no mask or box: 1", "higher", "share", "no", "all",
    )  # fmt: skip
    assert float(one["value"]) == pytest.approx(np.mean([(at + 1) / 20 for at in range(5)]))
    assert float(one["low"]) == pytest.approx(float(one["value"]) - 0.05)
    assert float(one["difference"]) == pytest.approx(0.05)
    assert one["against"] == "'=other · Grad-CAM"
    accuracy = [row for row in rows if row["metric"] == "accuracy"]
    assert [(row["method"], row["value"]) for row in accuracy] == [("", "0.5"), ("", "0.75")]
    assert "79.8" not in csv_text(report_of(run))


def test_latex_prints_names_as_they_are_and_published_rows_in_a_table_of_their_own(run, opened) -> None:
    text = opened(run, "report_latex")
    measured, published = text.split(r"\end{table}")[:2]
    assert r"A \& B\_1" in measured
    assert r"LRP $\varepsilon$+" in measured
    assert r"\toprule" in measured
    assert "56.51" not in measured
    assert "56.51 & 72.8 & 45.78" in published
    assert "not measured here" in published
    assert r"\textbf{75.0}" in measured
    compared = latex_text(report_of(run, against=row_of(report_of(run), "=other", "grad_cam").key))
    assert r"{\tiny $+50.0$ [$+50.0$, $+50.0$]}" in compared


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(run, tmp_path: Path) -> None:
    table = latex_text(report_of(run, against=row_of(report_of(run), "=other", "grad_cam").key))
    (tmp_path / "page.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + table + "\\end{document}\n", "utf-8"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "page.pdf").stat().st_size > 5000


def test_queries_do_not_grow_with_the_report(made, run, opened, django_assert_max_num_queries) -> None:
    key = row_of(report_of(run), "=other", "grad_cam").key
    opened(run)
    with django_assert_max_num_queries(4):
        report_of(run)
    with django_assert_max_num_queries(6):
        report_of(run, against=key)
    with django_assert_max_num_queries(16):
        opened(run)
    for place in range(20):
        one = made.sets["lrp"]
        one.pk, one.uuid, one.hash = None, uuid4(), f"{place:064x}"
        one.save()
        run.explanation_sets.add(one)
        write_score(run, one, "pointing", {str(image.uuid): 0.5 for image in made.images})
    with django_assert_max_num_queries(6):
        assert len(report_of(run, against=key).rows) == 24
    with django_assert_max_num_queries(16):
        opened(run)


# --- the form ---


def wish(made: Scored, **values) -> dict:
    return {"kind": "report", "image_set": made.image_set.pk, "part": "all"} | values


def boxes(page: str, name: str) -> dict[str, str]:
    """Value → the tag of each box to tick of this name."""
    found = re.findall(rf'<input type="checkbox"[^>]*name="{name}"[^>]*>', page)
    return {re.search(r'value="([^"]*)"', tag)[1]: tag for tag in found}


def test_the_form_lists_what_can_be_compared(made, client) -> None:
    client.force_login(made.owner)
    fits, misfit = made.classifier, Classifier.objects.get(pk=made.classifier.pk)
    misfit.pk, misfit.uuid, misfit.classes, misfit.run = None, uuid4(), ["only"], None
    misfit.save()
    page = client.get(reverse("admin:mlcore_run_form"), wish(made)).content.decode()
    assert set(boxes(page, "classifiers")) == {str(fits.pk)}
    assert not set(boxes(page, "methods")) & set(baselines())
    assert "are always in it" in page
    there = boxes(page, "metrics")
    assert set(there) == {name for name, spec in METRICS.items() if spec.needs and "person" not in spec.needs}
    assert "checked" in there["average_drop_15"]
    assert "checked" not in there["road"]
    assert "disabled" in there["pointing"]  # none of these images has a mask
    assert 'name="grad_cam.layer"' in page
    assert 'name="classifier"' not in page


def test_a_report_started_by_the_form_is_the_one_of_start_run(made, client) -> None:
    client.force_login(made.owner)
    options = {"methods": ["", "lrp"], "metrics": ["", "sparseness", "entropy"], "name": "by form"}
    none = client.post(reverse("admin:mlcore_run_start"), wish(made, **options))
    assert none.status_code == 422
    assert 'id="error_classifiers">Choose the classifiers' in none.content.decode()
    chosen = {"classifiers": ["", str(made.classifier.pk)], "lrp.epsilon": "0.5", "accuracy": "no"}
    answer = client.post(reverse("admin:mlcore_run_start"), wish(made, **options, **chosen))
    run = Run.objects.get(name="by form")
    assert answer["Location"] == reverse("admin:mlcore_run_change", args=[run.pk])
    assert list(run.classifiers.all()) == [made.classifier]
    assert run.recipe == clean("report", {
        "methods": ["lrp"], "metrics": ["sparseness", "entropy"], "lrp.epsilon": 0.5, "accuracy": False, "part": "all",
    })  # fmt: skip
    again = run_form.build(made.owner, run_form.from_run(run))
    assert again.objects["classifiers"] == [made.classifier]
    assert clean("report", again.recipe) == run.recipe


def test_classifiers_of_others_are_not_offered_nor_taken(made, client) -> None:
    owner = researcher()
    client.force_login(owner)
    type(made.image_set).objects.filter(pk=made.image_set.pk).update(owner=owner)
    page = client.get(reverse("admin:mlcore_run_form"), wish(made, classifiers=made.classifier.pk)).content.decode()
    assert "No classifier has exactly the classes of these images" in page
    client.post(reverse("admin:mlcore_run_start"), wish(made, classifiers=[made.classifier.pk], name="x"))
    assert not Run.objects.filter(name="x").exists()
