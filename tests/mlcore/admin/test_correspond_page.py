"""The page, the downloads and the form of a comparison: figures as stored, changes with their pictures."""

import csv
import html
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest
from django.urls import reverse
from django.utils import timezone

from mlcore.admin import run_form
from mlcore.catalogue import clean
from mlcore.models import Classifier, CorrespondenceNetwork, Explanation, ExplanationSet, ImageSet, Prediction, Run
from mlcore.runs.correspond_report import outcome_of
from mlcore.runs.correspond_tables import latex_text
from mlcore.training.correspond_figures import HEAD, Said, figures
from tests.annotation.factories import researcher
from tests.mlcore.admin.scored import Scored, make_scored

pytestmark = pytest.mark.django_db
CLASSES = ["=Ant & Co", "036.Northern_Flicker", "Zebra"]


@pytest.fixture
def made(db) -> Scored:
    return make_scored(number=6, methods=("grad_cam",))


@pytest.fixture
def run(made) -> Run:
    """Six zebras: kNN names four, EMD-Corr two of these and another; the head knows no flicker."""
    made.image_set.classes = CLASSES
    made.image_set.save()
    names = [str(image.uuid) for image in made.images]
    said = {
        "knn": {name: Said(2 if at < 4 else 0, 0.5 + at / 20, 2) for at, name in enumerate(names)},
        "emd_corr": {name: Said(2 if at in (0, 1, 4) else 1, 0.6, 2, 7, 8) for at, name in enumerate(names)},
        HEAD: {name: Said(-1 if at else 2, 0.9) for at, name in enumerate(names[:5])},
    }
    run = Run.objects.create(
        name="compared", kind="correspond", owner=made.owner, image_set=made.image_set, classifier=made.classifier,
        state="succeeded", started=timezone.now(), ended=timezone.now(),
        recipe=clean("correspond", {}) | {"layer": "features"},
    )  # fmt: skip
    told = figures(said, dict.fromkeys(names, (2,)))
    for way in told["ways"]:
        if way["name"] == HEAD:
            way["unknown"] = 1
            Prediction.objects.filter(classifier=made.classifier).delete()
            Prediction.objects.bulk_create(
                Prediction(classifier=made.classifier, image=image, label=at % 2, confidence=0.9)
                for at, image in enumerate(made.images)
            )
            continue
        one = ExplanationSet.objects.create(
            classifier=made.classifier, image_set=made.image_set, owner=made.owner, method=way["name"],
            code_version="x", hash=way["name"].ljust(64, "0"), options={"gallery": str(made.image_set.uuid)},
        )  # fmt: skip
        run.explanation_sets.add(one)
        way |= {"set": str(one.uuid), "milliseconds": 12.5}
        for image, name in zip(made.images, names, strict=True):
            Explanation.objects.create(
                set=one, image=image, payload="neighbours", target=said[way["name"]][name].label,
                data={"neighbours": [], "confidence": 0.5},
            )  # fmt: skip
    run.result = {
        "comparison": told
        | {"queries": 6, "gallery": 6, "left_out": {"grey picture": 2}, "filters": {}, "features": [],
           "search": {"index": "hnsw", "candidates": 50, "recall": 0.985, "sample": 6}}
    }  # fmt: skip
    run.save()
    return run


@pytest.fixture
def opened(made, client):
    client.force_login(made.owner)

    def get(run: Run, name: str = "change", *more, **query) -> str:
        answer = client.get(reverse(f"admin:mlcore_run_{name}", args=[run.pk, *more]), query)
        assert answer.status_code == 200
        return answer.content.decode()

    return get


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_the_page_tells_who_was_right_and_what_changed(run, opened) -> None:
    page = opened(run)
    shown = text_of(page)
    assert "Nearest neighbours best 66.7 % 30.0 to 90.3 6 100.0 % 57.5 % 72.5 % – 12.5 ms" in shown
    assert "EMD-Corr 50.0 % 18.8 to 81.2 6 100.0 % 60.0 % 60.0 % 6 of 48 12.5 ms" in shown
    assert "The classifier's head 20.0 % 3.6 to 62.4 5 1 of classes that it does not know" in shown
    assert "Nearest neighbours → EMD-Corr 6 1 2 −16.7 points 1.000" in shown
    assert "Left out: 2 grey picture." in shown
    assert "found 98.5 % of the exact neighbours" in shown
    assert "vote of the first 20 of 50" in shown
    # Each picture that changed leads to the page that shows why, and says what was said before and after.
    emd = run.explanation_sets.get(method="emd_corr")
    image = Explanation.objects.filter(set=emd).order_by("pk")[4].image
    assert reverse("admin:mlcore_explanationset_match_of", args=[emd.pk, image.uuid]) in page
    assert "=Ant &amp; Co → Zebra" in page
    assert "Zebra → Northern Flicker" in page


def test_confusion_is_of_the_way_that_is_chosen(run, opened) -> None:
    assert outcome_of(run).confusion.way == "emd_corr"
    assert outcome_of(run).confusion.pairs == [("Zebra", CLASSES[1], 3)]
    assert outcome_of(run, way="knn").confusion.pairs == [("Zebra", CLASSES[0], 2)]
    head = outcome_of(run, way=HEAD).confusion
    assert head.pairs == [("Zebra", "a class that the gallery has not", 4)]
    assert head.rows == [("Zebra", [4, 1], 0)]
    assert "4 × Zebra, taken for a class that the gallery has not" in text_of(opened(run, way="head"))


def test_csv_has_every_number_and_no_formula(run, opened) -> None:
    rows = list(csv.DictReader(io.StringIO(opened(run, "correspond", "csv"))))
    by_table = {table: [row for row in rows if row["table"] == table] for table in {row["table"] for row in rows}}
    assert {table: len(found) for table, found in by_table.items()} == {
        "accuracy": 3, "class": 3, "confusion": 6, "change": 3,
    }  # fmt: skip
    knn = next(row for row in by_table["accuracy"] if row["way"] == "knn")
    assert (knn["n"], knn["right"], float(knn["value"])) == ("6", "4", pytest.approx(2 / 3))
    assert {row["said"] for row in by_table["confusion"] if row["way"] == "knn"} == {"'=Ant & Co", "Zebra"}
    change = next(row for row in by_table["change"] if (row["against"], row["way"]) == ("knn", "emd_corr"))
    assert (change["wrong_to_right"], change["right_to_wrong"]) == ("1", "2")


def test_json_and_latex_say_the_same(run, opened) -> None:
    told = json.loads(opened(run, "correspond", "json"))
    assert [(way["name"], way["right"], way["n"]) for way in told["ways"]] == [
        ("knn", 4, 6), ("emd_corr", 3, 6), ("head", 1, 5),
    ]  # fmt: skip
    assert told["per_class"] == [
        {"class": "Zebra", "knn": {"n": 6, "right": 4}, "emd_corr": {"n": 6, "right": 3}, "head": {"n": 5, "right": 1}}
    ]
    assert {"class": "Zebra", "said": None, "n": 4} in told["confusion"]["head"]
    text = opened(run, "correspond", "tex")
    assert r"Nearest neighbours & \textbf{66.7} & [30.0, 90.3] & 6 & -- & -- & --" in text
    assert r"EMD-Corr & 50.0 & [18.8, 81.2] & 6 & 1 & 2 & 1.000" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(run, tmp_path: Path) -> None:
    (tmp_path / "page.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + latex_text(outcome_of(run))
        + "\\end{document}\n", "utf-8",
    )  # fmt: skip
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]


def test_other_runs_and_other_people_have_no_such_figures(made, run, client) -> None:
    client.force_login(made.owner)
    for pk, kind in ((made.run.pk, "csv"), (run.pk, "xlsx")):
        assert client.get(reverse("admin:mlcore_run_correspond", args=[pk, kind])).status_code == 404
    client.force_login(researcher())
    assert client.get(reverse("admin:mlcore_run_correspond", args=[run.pk, "csv"])).status_code == 404
    assert outcome_of(made.run) is None


def test_queries_do_not_grow_with_the_changes(made, run, opened, django_assert_max_num_queries) -> None:
    opened(run)
    with django_assert_max_num_queries(20):
        opened(run)


# --- the form ---


def wish(made: Scored, **values) -> dict:
    return {"kind": "correspond", "image_set": made.image_set.pk, "part": "all"} | values


def test_the_form_offers_any_classifier_and_the_owners_other_sets(made, client) -> None:
    client.force_login(made.owner)
    Classifier.objects.filter(pk=made.classifier.pk).update(classes=["only"])
    mine = ImageSet.objects.create(name="mine", owner=made.owner, classes=["Zebra"])
    ImageSet.objects.create(name="not mine", owner=researcher(), classes=["Zebra"])
    page = client.get(reverse("admin:mlcore_run_form"), wish(made)).content.decode()
    chosen = re.search(r'<select[^>]*name="gallery".*?</select>', page, re.DOTALL)[0]
    assert re.findall(r'value="(\d*)"', chosen) == ["", str(mine.pk)]
    of_classifiers = re.search(r'<select[^>]*name="classifier".*?</select>', page, re.DOTALL)[0]
    assert f'value="{made.classifier.pk}"' in of_classifiers
    boxes = {
        re.search(r'value="(\w+)"', tag)[1]: tag
        for tag in re.findall(r'<input type="checkbox"[^>]*name="matchers"[^>]*>', page)
    }
    assert set(boxes) == {"knn", "emd_corr", "chm_corr", "cosine_corr"}
    assert "checked" in boxes["emd_corr"]
    assert "disabled" in boxes["chm_corr"]
    assert 'name="emd_corr.num_patch"' in page
    CorrespondenceNetwork.objects.create(name="n", classifier=made.classifier, layer="x", sha256="")
    page = client.get(reverse("admin:mlcore_run_form"), wish(made, classifier=made.classifier.pk)).content.decode()
    assert "no trained correspondence network" not in page


def test_the_form_says_how_much_room_the_features_take(made, client) -> None:
    client.force_login(made.owner)
    Classifier.objects.filter(pk=made.classifier.pk).update(
        architecture="sixconv", transform={}, layers=[{"name": "features", "channels": 96, "height": 28, "width": 28}]
    )
    page = client.get(reverse("admin:mlcore_run_form"), wish(made, classifier=made.classifier.pk)).content.decode()
    assert f"Features take about {6 * (2 * 96 * 785 + 120) / 1000:.0f} kB on the disk" in page


def test_a_comparison_started_by_the_form_is_the_one_of_start_run(made, client) -> None:
    client.force_login(made.owner)
    Classifier.objects.filter(pk=made.classifier.pk).update(weights="w", architecture="sixconv", sha256=uuid4().hex)
    options = {"classifier": made.classifier.pk, "name": "by form", "votes": "3", "candidates": "4", "head": "no"}
    bad = client.post(reverse("admin:mlcore_run_start"), wish(made, **options, matchers=["", "knn"], classes="star"))
    assert bad.status_code == 422
    assert "There is no class “star”" in bad.content.decode()
    answer = client.post(reverse("admin:mlcore_run_start"), wish(made, **options, matchers=["", "knn", "cosine_corr"]))
    run = Run.objects.get(name="by form")
    assert answer["Location"] == reverse("admin:mlcore_run_change", args=[run.pk])
    expected = clean("correspond", {
        "matchers": ["knn", "cosine_corr"], "votes": 3, "candidates": 4, "head": False, "part": "all",
    })  # fmt: skip
    own = {name: value for name, value in (made.classifier.transform or {}).items() if name in expected}
    assert run.recipe == expected | {"layer": "features"} | own
    again = run_form.build(made.owner, run_form.from_run(run))
    assert clean("correspond", again.recipe) == run.recipe
    assert again.objects["classifier"] == made.classifier
