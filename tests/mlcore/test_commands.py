"""The commands: what they do is what the functions do, what they refuse they refuse in sentences."""

import hashlib
import json
import re
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.utils import timezone

from harmony.terminal import Bar
from mlcore.exchange.decoy import render_decoy
from mlcore.management.arguments import options_of
from mlcore.models import Classifier, ImageSet, Partition, Run, Worker
from mlcore.runs import state
from tests.mlcore.exchange.pictures import save
from tests.mlcore.runs import conftest as fixtures
from tests.mlcore.runs.world import TINY, make_classifier, make_supervision, start, weights_hash

_folders, world, reference = fixtures._folders, fixtures.world, fixtures.reference
OPTIONS = [f"--option={key}={value}" for key, value in TINY.items()]


def run_command(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def refused(*arguments: str) -> str:
    with pytest.raises(CommandError) as caught:
        run_command(*arguments)
    assert caught.value.returncode != 0
    return str(caught.value)


# --- images, partitions, classifiers ---


def test_images_come_in_with_masks_and_their_own_partition(db, tmp_path) -> None:
    get_user_model().objects.create_user("ada")
    folder = tmp_path / "scenes"
    render_decoy(folder, seed=1, size=32, classes=2, per_part={"train": 4, "annotation_pool": 2, "validation": 2})
    wish = ["import_images", str(folder / "images"), "--name=Scenes", f"--labels={folder / 'labels.csv'}"]
    wish += [f"--masks={folder / 'masks'}", "--partition=given", "--owner=ada"]
    said = run_command(*wish)
    assert "8 images added" in said
    assert "8 masks" in said
    made = Partition.objects.get(name="given")
    assert made.image_set.owner.username == "ada"
    assert dict(made.members.values_list("image__name", "part"))["train-00003.png"] == "train"
    assert "0 images added, 8 already there" in run_command(*wish[:-2])  # again: nothing new


def test_images_come_in_with_coco_and_with_voc(db, tmp_path) -> None:
    save(tmp_path / "set" / "a.png")
    categories = [{"id": 5, "name": "wren"}, {"id": 2, "name": "robin"}]
    coco = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4]}],
        "categories": categories,
    }
    (tmp_path / "instances.json").write_text(json.dumps(coco))
    wish = ["import_images", str(tmp_path / "set"), "--name=COCO", f"--coco={tmp_path / 'instances.json'}"]
    assert "COCO: 1 image added, 1 box." in run_command(*wish)
    assert "COCO: 0 images added, 1 already there." in run_command(*wish)
    assert ImageSet.objects.get(name="COCO").classes == ["robin", "wren"]

    (tmp_path / "xml").mkdir()
    box = "<xmin>2</xmin><ymin>2</ymin><xmax>5</xmax><ymax>5</ymax>"
    (tmp_path / "xml" / "a.xml").write_text(
        f"<annotation><filename>a</filename><object><name>n01</name><bndbox>{box}</bndbox></object></annotation>"
    )
    (tmp_path / "names.txt").write_text("n01 tench, Tinca tinca\n")
    wish = ["import_images", str(tmp_path / "set"), "--name=VOC", f"--voc={tmp_path / 'xml'}"]
    assert "VOC: 1 image added, 1 box." in run_command(*wish, f"--names={tmp_path / 'names.txt'}")
    assert ImageSet.objects.get(name="VOC").classes == ["tench, Tinca tinca"]
    assert "Give one of" in refused(*wish, f"--coco={tmp_path / 'instances.json'}")


def test_an_import_that_brings_nothing_says_why(db, tmp_path) -> None:
    assert "There is no folder" in refused("import_images", str(tmp_path / "nowhere"), "--name=x")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "bad.png").write_bytes(b"not a picture")
    errors = StringIO()
    with pytest.raises(CommandError):
        call_command("import_images", str(tmp_path), "--name=x", stdout=StringIO(), stderr=errors)
    assert not ImageSet.objects.exists()


def test_a_partition_by_numbers_and_shares(world) -> None:
    said = run_command(
        "make_partition", "--image-set=scenes", "--name=cut", "--per-class=train=3", "--fraction=test=0.5",
        "--rest=validation", "--seed=4",
    )  # fmt: skip
    made = Partition.objects.get(name="cut")
    counts = {part: made.members.filter(part=part).count() for part in ("train", "test", "validation")}
    assert counts == {"train": 6, "test": 11, "validation": 11}
    assert f"{made.uuid} scenes: cut: 11 test, 6 train, 11 validation" in said
    again = ["make_partition", "--image-set=scenes", "--name=other"]
    assert "There is no image set “nothing”" in refused("make_partition", "--image-set=nothing", "--name=x")
    assert "write key=value" in refused(*again, "--per-class=train")
    assert "“few” is not a whole number" in refused(*again, "--per-class=train=few")
    assert "add up to 0.5" in refused(*again, "--fraction=train=0.5")
    assert "leave out" in refused(*again, "--splits=x.csv", "--rest=train")


@pytest.mark.slow
def test_a_classifier_comes_in(world, reference, tmp_path) -> None:
    weights = tmp_path / "elsewhere.safetensors"
    weights.write_bytes(reference)
    said = run_command(
        "import_classifier", str(weights), "--name=brought", "--architecture=sixconv",
        "--classes=ellipse,triangle", "--transform=image_size=32", "--transform=resize=none",
    )  # fmt: skip
    made = Classifier.objects.get(name="brought")
    assert str(made.uuid) in said
    assert made.classes == ["ellipse", "triangle"]
    assert made.transform == {"image_size": 32, "resize": "none"}
    wrong = ["import_classifier", str(weights), "--name=x", "--architecture=sixconv"]
    assert "names 3" in refused(*wrong, "--classes=a,b,c")
    assert "there is only" in refused(*wrong, "--transform=colour=red")
    assert "is not a number" in refused(*wrong, "--transform=image_size=large")
    assert "There is no file" in refused("import_classifier", "gone.npz", "--name=x", "--architecture=sixconv")


# --- runs ---


@pytest.mark.slow
def test_training_here_and_now_is_what_the_function_does(world, reference) -> None:
    wish = start(world, seed=3)
    said = run_command("train", "--image-set=scenes", "--seed=3", "--wait", "--name=from the command", *OPTIONS)
    run = Run.objects.get(name="from the command")
    assert f"{run.uuid} succeeded" in said
    assert re.search(r"validation\s+accuracy\s+\d\.\d{4}  \(n = 6\)", said)
    assert (run.recipe, run.manifest_hash) == (wish.recipe, wish.manifest_hash)
    assert weights_hash(run) == hashlib.sha256(reference).hexdigest()
    assert str(run.made_classifier.uuid) in run_command("run_status", str(run.uuid)[:8])


@pytest.mark.slow
def test_grid_consistency_is_trained_by_its_name(world) -> None:
    said = run_command("train", "--image-set=scenes", "--seed=3", "--wait", "--option=objective=grid", *OPTIONS)
    run = Run.objects.get()
    assert f"{run.uuid} succeeded" in said
    assert (run.recipe["grid_weight"], run.recipe["detach_target"]) == (25.0, False)
    logged = dict(run.metrics.filter(part="train", step=1).values_list("name", "value"))
    assert logged["images_in_collage"] + logged["images_without_collage"] == run.recipe["batch_size"]
    assert logged["loss"] == pytest.approx(logged["classification"] + 25 * logged["consistency"], rel=1e-5)


def test_explain_and_evaluate_take_their_options(world) -> None:
    made = make_classifier(world)
    about = ["--image-set=scenes", "--classifier=earlier", "--option=batch_size=7"]
    run_command("explain", *about, "--part=all", "--target=second", "--layer=features")
    run_command("evaluate", *about, "--part=test", "--pointing-tolerance=0")
    explain, evaluate = Run.objects.order_by("pk")
    assert explain.classifier == evaluate.classifier == made
    chosen = {"part": "all", "target": "second", "grad_cam.layer": "features", "batch_size": 7, "image_size": 32}
    assert chosen.items() <= explain.recipe.items()
    assert {"part": "test", "pointing_tolerance": 0.0, "batch_size": 7}.items() <= evaluate.recipe.items()


def test_a_queued_run_and_its_control(world) -> None:
    make_supervision(world)
    said = run_command(
        "train", "--image-set=scenes", "--supervision=what people drew", "--objective=gradia",
        "--attention-weight=2.5", "--with-control", *OPTIONS,
    )  # fmt: skip
    run, control = Run.objects.order_by("pk")
    assert said == f"{run.uuid} queued: {run.name}\n{control.uuid} queued: {control.name}\n"
    assert run.recipe["attention_weight"] == 2.5
    assert run.control == control


def test_refusals_name_the_field(world) -> None:
    wish = ["train", "--image-set=scenes"]
    assert refused(*wish, "--epochs=0").startswith("epochs: ")
    assert refused(*wish, "--objective=gradia").startswith("supervision: ")
    assert refused(*wish, "--option=colour=red").startswith("colour: ")
    assert "write key=value" in refused(*wish, "--option=epochs")
    assert "There is no partition “x”. There are: scenes: split." in refused(*wish, "--partition=x")
    assert "There is no user “eve”" in refused(*wish, "--owner=eve")
    assert "There is no classifier yet." in refused(*wish, "--classifier=x")
    assert "Choose the classifier" in refused("explain", "--image-set=scenes")
    assert not Run.objects.exists()


def test_two_of_one_name_are_told_apart_by_uuid(world) -> None:
    first, second = make_classifier(world), make_classifier(world)
    sentence = refused("evaluate", "--image-set=scenes", "--classifier=earlier")
    assert str(first.uuid)[:8] in sentence
    assert str(second.uuid)[:8] in sentence
    run_command("evaluate", "--image-set=scenes", f"--classifier={second.uuid}")
    assert Run.objects.get().classifier == second


def test_a_failed_run_is_a_failed_command(world) -> None:
    Path(world.part("train")[0].file.path).unlink()
    assert "does not exist any more" in refused("train", "--image-set=scenes", "--wait", *OPTIONS)


def test_status_cancel_resume_and_sweep(world) -> None:
    run = start(world)
    said = run_command("run_status")
    assert re.search(rf"{str(run.uuid)[:8]}  queued\s+0%  train\s+a run", said)
    assert "1 waiting, 0 running, 0 training workers alive." in said
    assert "No training worker is alive" in said
    assert "cancelled: a run" in run_command("cancel_run", str(run.uuid)[:8])
    assert refused("cancel_run", "a run") == "state: “a run” has ended already (cancelled)."
    assert "queued: a run" in run_command("resume_run", "a run")
    held = state.claim(run.uuid, "gone:1")
    assert "is asked to stop" in run_command("cancel_run", "a run")
    assert "only failed and cancelled runs" in refused("resume_run", "a run")
    assert run_command("sweep_runs") == "Nothing to heal.\n"
    Run.objects.update(heartbeat=timezone.now() - timezone.timedelta(minutes=2))
    assert run_command("sweep_runs") == "cancelled: a run\n"
    assert held is not None
    assert "Cancelled; its worker had been lost." in run_command("run_status", "a run")
    assert "Resumed, from its beginning." in run_command("run_status", "a run", "--log")


def test_a_device_that_is_not_here_is_told_before_anything_is_queued(world, monkeypatch) -> None:
    monkeypatch.setenv("HARMONY_DEVICE", "abacus")
    assert "HARMONY_DEVICE=“abacus” is no device" in refused("train", "--image-set=scenes", "--wait", *OPTIONS)
    assert not Run.objects.exists(), "a worker would take it later, which nobody asked for"
    run = start(world)
    run_command("cancel_run", "a run")
    assert "is no device" in refused("resume_run", "a run", "--wait")
    run.refresh_from_db()
    assert run.state == "cancelled"


def test_a_machine_that_stops_joining_says_so(world, monkeypatch) -> None:
    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("HARMONY_DEVICE", "cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    start(world)
    monkeypatch.setattr("mlcore.management.commands.join_run.join", stopped)
    with pytest.raises(CommandError, match="when this machine, or another, joins it again") as caught:
        run_command("join_run", "a run")
    assert caught.value.returncode == 130


def test_files_that_a_report_cannot_write_are_told_before_it_is_made(world, tmp_path) -> None:
    wish = ["report", "--image-set=scenes", "--wait"]
    assert f"“{tmp_path}” is a folder" in refused(*wish, f"--csv={tmp_path}")
    assert "does not exist" in refused(*wish, f"--latex={tmp_path / 'nowhere' / 'table.tex'}")
    assert "one file" in refused(*wish, f"--csv={tmp_path / 'a'}", f"--latex={tmp_path / 'a'}")
    assert not Run.objects.exists()


def test_worker_alive_speaks_of_this_host(db, monkeypatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "box")
    Worker.objects.create(name="other:1", queues="training", seen=timezone.now())
    assert "No worker on box" in refused("worker_alive")
    Worker.objects.create(name="box:7", queues="default", seen=timezone.now())
    assert run_command("worker_alive") == "box:7 default\n"


def test_options_and_the_bar() -> None:
    assert options_of(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    stream = StringIO()
    bar = Bar("Training", stream)
    bar(0, 10, "training", 90.0)
    bar(5, 10, "training", 45.0)  # too soon for a file
    bar(10, 10, "training")
    bar.event({"event": "log", "level": "warning", "text": "odd"})
    bar.end()
    expected = ["Training:   0% training, about 2 minutes left", "Training: 100% training", "warning: odd"]
    assert stream.getvalue().splitlines() == expected
