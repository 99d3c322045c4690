"""export_pairs and import_pairs: the whole way with a real (tiny) network, into a real second installation."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command

from annotation.exchange.bundle import FIXTURE, MANIFEST
from annotation.models import Study
from mlcore.models import Classifier, ExplanationSet, PairSet, Run, Score
from mlcore.training.sixconv import SixConv
from tests.annotation import factories as make
from tests.annotation.pairs import make_cells
from tests.mlcore.runs import conftest as fixtures
from tests.mlcore.runs.world import SIZE, World

_folders, world = fixtures._folders, fixtures.world


def said(*arguments: Any) -> str:
    out = io.StringIO()
    call_command(*map(str, arguments), stdout=out, stderr=io.StringIO())
    return out.getvalue()


def refused(*arguments: Any) -> str:
    with pytest.raises(CommandError) as caught:
        said(*arguments)
    return str(caught.value)


def classifier(world: World, name: str, weights: bytes, **values: Any) -> Classifier:
    made = Classifier(
        name=name, architecture="sixconv", classes=world.image_set.classes, sha256=name.ljust(64, "0"),
        transform={"image_size": SIZE, "resize": "none", "normalise": "imagenet"}, **values,
    )  # fmt: skip
    made.weights.save("w.safetensors", ContentFile(weights), save=True)
    return made


def untrained(scale: float = 1.0) -> bytes:
    """Weights of a network that has learned nothing: it names one class for everything, and its maps are maps."""
    torch.manual_seed(0)
    state = SixConv(2).state_dict()
    return safetensors.torch.save({name: value * scale if value.ndim > 1 else value for name, value in state.items()})


@pytest.mark.slow
def test_maps_scores_pairs_study_and_file_in_one_command(world, tmp_path):
    first = classifier(world, "first", untrained())
    classifier(world, "second", untrained(1.01), parent=first)
    wish = ["export_pairs", "--tuned=second", "--metric=rma", "--image-set=scenes", "--study=Which?", "--publish"]
    out = tmp_path / "pairs.zip"
    told = said(*wish, f"--out={out}", "--n=2")
    study = Study.objects.get(name="Which?")
    pair_set = PairSet.objects.get()
    assert f"{pair_set}: {pair_set.spec['pairs']} of 2 pairs" in told
    assert "content_heat_map" in told
    assert study.state == "live"
    assert str(out) in told
    assert (pair_set.original.classifier, pair_set.part, pair_set.agreement) == (first, "test", 1.0)
    assert {one.target for one in ExplanationSet.objects.all()} == {"true"}
    assert Score.objects.filter(metric="content_heat_map").count() == 2
    pair = pair_set.pairs.first()
    per_image = Score.objects.get(explanation_set=pair_set.tuned).per_image
    assert pair.after == per_image[str(pair.image.uuid)]
    with zipfile.ZipFile(out) as archive:
        assert json.loads(archive.read(MANIFEST))["studies"] == [{"uuid": str(study.uuid), "name": "Which?"}]
    # Everything is there now: no run more, and no second set of maps.
    runs = Run.objects.count()
    theirs = tmp_path / "theirs.zip"
    said("export_pairs", "--tuned=second", "--metric=rma", "--image-set=scenes", "--format=harmony_app",
         f"--out={theirs}", "--n=2")  # fmt: skip
    assert (Run.objects.count(), ExplanationSet.objects.count()) == (runs, 2)
    with zipfile.ZipFile(theirs) as archive:
        assert FIXTURE in archive.namelist()


def manage(folder: Path, *arguments: str) -> str:
    """One command in an installation of its own."""
    environment = os.environ | {
        "SECRET_KEY": "elsewhere", "DEBUG": "1", "HARMONY_VAR": str(folder),
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}", "STORAGE_URL": f"file://{folder / 'media'}",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=settings.BASE_DIR, env=environment, capture_output=True,
        text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# One process for all, because each takes seconds to start.
ELSEWHERE = """
from django.core.management import call_command
from annotation.exchange.bundle import write_bundle
from annotation.models import Study
call_command("migrate", verbosity=0)
call_command("import_pairs", {bundle!r})
call_command("import_pairs", {bundle!r})
write_bundle([Study.objects.get()], {again!r})
"""


@pytest.mark.slow
def test_a_real_second_installation_packs_the_same_bundle_again(db, tmp_path):
    cells = make_cells()
    scores = ["--no-scores", "--study=Which?", "--method=grad_cam", "--n=2", "--original=Clandestine-Alpha"]
    out = tmp_path / "pairs.zip"
    told = said("export_pairs", "--tuned=Clandestine-Beta focus", "--tuned=Clandestine-Beta rma", *scores,
                "--partition=split", "--image-set", cells.images[0].image_set.name, f"--out={out}")  # fmt: skip
    assert told.count("2 of 2 pairs") == 2
    there = tmp_path / "there"
    there.mkdir()
    again = there / "again.zip"
    told = manage(there, "shell", "-c", ELSEWHERE.format(bundle=str(out), again=str(again)))
    assert "rows and 7 files came in" in told
    assert "nothing was changed" in told
    with zipfile.ZipFile(out) as one, zipfile.ZipFile(again) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())
        for name in one.namelist():
            if name.startswith("media/"):
                assert one.read(name) == other.read(name)
        before, after = (_without_links(archive.read(FIXTURE)) for archive in (one, other))
    assert before == after


def _without_links(fixture: bytes) -> list[dict[str, Any]]:
    rows = json.loads(fixture)
    for row in rows:
        row["fields"].pop("join_key", None)
    return sorted(rows, key=str)


def test_what_cannot_be_exported_is_said_in_a_sentence(db):
    cells = make_cells(("focus",))
    name = cells.images[0].image_set.name
    tuned = "--tuned=Clandestine-Beta focus"
    where = ["--image-set", name, "--no-scores"]
    assert "give it a name by --study" in refused("export_pairs", tuned, "--out=x.zip")
    assert "no study to publish" in refused("export_pairs", tuned, "--publish")
    assert "There is no classifier" in refused("export_pairs", "--tuned=nobody")
    assert "no metric “sharpness”" in refused("export_pairs", tuned, "--metric=sharpness")
    assert "no method “crystal”" in refused("export_pairs", tuned, "--method=crystal")
    assert "once for each of the 1" in refused("export_pairs", tuned, "--metric=rma", "--metric=focus")
    assert "was not tuned by a run here" in refused("export_pairs", "--tuned=Clandestine-Alpha", *where)
    alone = make.ClassifierFactory(name="alone")
    assert "what it was tuned from" in refused("export_pairs", "--tuned=alone", "--metric=rma", *where)
    alone.parent = cells.original.classifier
    alone.save()
    assert "name the images by --image-set" in refused("export_pairs", "--tuned=alone", "--metric=rma")
    assert "needs two classifiers" in refused(
        "export_pairs", "--tuned=Clandestine-Alpha", "--original=Clandestine-Alpha", "--metric=rma", *where
    )
    assert not Study.objects.exists()


def test_what_cannot_be_imported_is_said_in_a_sentence(db, tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(b"nothing")
    assert "cannot be read as a zip" in refused("import_pairs", path)
    assert "There is no user" in refused("import_pairs", path, "--owner=nobody")


def test_what_is_imported_belongs_to_whom_one_says_or_to_the_first_administrator(db, tmp_path):
    cells = make_cells(("focus",))
    out = tmp_path / "pairs.zip"
    said("export_pairs", "--tuned=Clandestine-Beta focus", "--no-scores", "--study=Which?",
         "--image-set", cells.images[0].image_set.name, f"--out={out}")  # fmt: skip
    first = make.UserFactory(username="ada", is_superuser=True, is_staff=True)
    for arguments, owner in (([], first), ([f"--owner={cells.owner}"], cells.owner)):
        Study.objects.get().trials.all().delete()
        Study.objects.all().delete()
        told = said("import_pairs", out, *arguments)
        assert Study.objects.get().owner == owner
        assert f"of {owner}" in told
