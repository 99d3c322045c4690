"""manage.py correspond: what is refused before a run, and what it prints of one that was performed."""

import csv
import json

import pytest

from mlcore.models import Classifier, Run
from tests.mlcore.runs import conftest as fixtures
from tests.mlcore.runs.correspond_world import RECIPE, other_set
from tests.mlcore.runs.reported import two_classifiers
from tests.mlcore.test_commands import refused, run_command

_folders, world = fixtures._folders, fixtures.world
OPTIONS = [f"--option={key}={value}" for key, value in RECIPE.items() if key not in ("part", "matchers")]


@pytest.fixture
def classifier(world, tmp_path) -> Classifier:
    return two_classifiers(world, tmp_path)[0]


def test_what_cannot_be_is_said_before_anything_is_queued(classifier, tmp_path) -> None:
    wish = ["correspond", "--images=scenes", "--classifier=first"]
    assert "add --wait" in refused(*wish, "--json")
    assert "add --wait" in refused(*wish, "--csv=x.csv")
    assert "is a folder" in refused(*wish, "--wait", f"--csv={tmp_path}")
    assert "There is no image set “sky”" in refused(*wish, "--gallery=sky")
    assert refused(*wish[:2], "--part=test").startswith("classifier: Choose the classifier")
    assert "There is no class “star”" in refused(*wish, "--classes=star")
    assert not Run.objects.exists()


def test_a_run_is_queued_with_its_gallery(classifier) -> None:
    other = other_set(["ellipse", "Triangle"])
    said = run_command(
        "correspond", "--images=scenes", "--gallery=gallery", "--classifier=first", "--matchers=cosine_corr",
        "--part=test", "--option=cosine_corr.best=3",
    )  # fmt: skip
    run = Run.objects.get()
    assert said == f"{run.uuid} queued: scenes, by comparison\n"
    assert (run.gallery, run.recipe["part"], run.recipe["cosine_corr.best"]) == (other, "test", 3)


@pytest.mark.slow
def test_the_table_is_printed_and_written(classifier, tmp_path) -> None:
    wish = ["correspond", "--images=scenes", "--classifier=first", "--matchers=knn,emd_corr", "--part=validation"]
    files = [f"--csv={tmp_path / 'figures.csv'}", f"--latex={tmp_path / 'table.tex'}"]
    said = run_command(*wish, *OPTIONS, "--wait", *files)
    run = Run.objects.get()
    ways = {way["name"]: way for way in run.result["comparison"]["ways"]}
    knn = next(line for line in said.splitlines() if line.startswith("Nearest neighbours "))
    assert knn.split()[2] == f"{100 * ways['knn']['value']:.1f}"
    assert "Nearest neighbours → EMD-Corr:" in said
    assert f"written: {tmp_path / 'table.tex'}" in said
    rows = list(csv.DictReader((tmp_path / "figures.csv").open()))
    assert [row["way"] for row in rows if row["table"] == "accuracy"] == ["knn", "emd_corr", "head"]
    assert r"\toprule" in (tmp_path / "table.tex").read_text("utf-8")
    told = json.loads(run_command(*wish, *OPTIONS, "--wait", "--json"))
    assert [(way["name"], way["right"]) for way in told["ways"]] == [(name, way["right"]) for name, way in ways.items()]
