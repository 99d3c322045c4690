"""Short questions of a page: asked as rows, answered once by a real process, given up in time, and swept away."""

import os
import signal
import time

import numpy as np
import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image as Picture

from mlcore.exchange.shards import load_map
from mlcore.models import AttentionModule, Classifier, Explanation, Inquiry, Worker
from mlcore.runs import inquiries, inquiry_server
from mlcore.runs.attention import newest_attention
from mlcore.runs.inquiries import answer, ask_layers, ask_mask, map_of, picture_of
from mlcore.runs.inquiry_server import NoAnswer, Server
from mlcore.runs.perform import perform
from mlcore.runs.questions import QuestionRefused, layers_question
from tests.annotation.factories import researcher
from tests.mlcore.runs.asked import asked_classifier, own_server, upload
from tests.mlcore.runs.station import Station, processes_with, wait_for
from tests.mlcore.runs.world import png, start

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module", autouse=True)
def serving():
    """One process for all tests here: to load PyTorch takes longer than to answer."""
    with own_server() as made:
        yield made


@pytest.fixture
def owner(db):
    return researcher()


@pytest.fixture
def classifier(world, owner) -> Classifier:
    return asked_classifier(world, owner)


@pytest.fixture
def image(world):
    return world.part("validation")[0]


def again(row: Inquiry) -> Inquiry:
    return Inquiry.objects.get(pk=row.pk)


# --- answers ---


def test_the_layers_are_kept_with_the_classifier(classifier, owner) -> None:
    row = ask_layers(classifier, owner)
    assert ask_layers(classifier, owner).pk == row.pk  # one question at a time is enough
    answer(str(row.uuid))
    row = again(row)
    assert row.state == "answered", row.reason
    assert row.ended is not None
    classifier.refresh_from_db()
    by_name = {layer["name"]: layer for layer in classifier.layers}
    assert by_name["features"] == {
        "name": "features", "type": "Sequential", "channels": 96, "height": 4, "width": 4,
        "suggested": ["grad_cam", "tame"],
    }  # fmt: skip
    assert [name for name, layer in by_name.items() if "tame" in layer["suggested"]][-1] == "features"


def test_the_map_is_the_one_that_a_run_stores(world, classifier, owner, image) -> None:
    run = start(world, "explain", classifier=classifier, recipe={"part": "validation", "methods": "grad_cam,lrp"})
    run = perform(run.uuid, worker_name="here:1")
    assert run.state == "succeeded", run.reason
    for method in ("grad_cam", "lrp"):
        stored = Explanation.objects.get(image=image, set__method=method)
        for picture in (image, upload(image)):
            row = ask_mask(classifier, owner, picture, method=method)
            answer(str(row.uuid))
            row = again(row)
            assert row.state == "answered", row.reason
            assert row.answer["label"] == stored.target
            assert np.allclose(map_of(row).values, load_map(stored), atol=1e-6)


def test_another_class_needs_no_other_upload(classifier, owner, image) -> None:
    first = ask_mask(classifier, owner, upload(image), method="grad_cam")
    answer(str(first.uuid))
    second = ask_mask(classifier, owner, again(first), method="grad_cam", label=classifier.classes[1])
    assert second.pk != first.pk
    assert picture_of(second) == picture_of(first)
    answer(str(second.uuid))
    assert again(second).answer["label"] == 1
    assert len(default_storage.listdir("inquiries")[1]) == 3  # one picture, two maps
    # The same question again is the row that has its answer.
    assert ask_mask(classifier, owner, again(first), method="grad_cam", label="1").pk == second.pk


def test_options_go_with_the_question(classifier, owner, image) -> None:
    row = ask_mask(classifier, owner, image, method="grad_cam", options={"layer": "features.5", "preset": "default"})
    assert row.question["options"] == {"layer": "features.5"}
    answer(str(row.uuid))
    assert (again(row).answer["height"], again(row).answer["width"]) == (16, 16)


def test_the_newest_attention_is_read_where_nobody_names_one(classifier, owner, image, tmp_path) -> None:
    import torch

    from mlcore.attribution import explain
    from mlcore.attribution.tame import TAMEAttention
    from mlcore.training.classifiers import build
    from mlcore.training.data import to_input
    from mlcore.training.weights import load_weights

    with pytest.raises(QuestionRefused, match="has no trained attention module of TAME"):
        ask_mask(classifier, owner, image, method="tame")
    model = build("sixconv", 2)
    for name in ("older", "newer"):
        path = TAMEAttention.for_model(model, ["features.5", "features.11", "features"], size=32).save(tmp_path / name)
        made = AttentionModule(name=name, classifier=classifier, kind="tame", sha256="0")
        with path.open("rb") as stream:
            made.weights.save("a.safetensors", stream, save=True)
    assert newest_attention(classifier, "tame").name == "newer"
    assert newest_attention(classifier, "l_cam") is None
    row = ask_mask(classifier, owner, image, method="tame")
    assert row.question["method"] == f"tame:{newest_attention(classifier, 'tame').uuid}"
    answer(str(row.uuid))
    assert again(row).state == "answered", again(row).reason
    # As a run draws it, by the catalogue's defaults: c scaled by its least and greatest value.
    model.load_state_dict(load_weights(classifier.weights.path))
    pixels = torch.from_numpy(np.asarray(Picture.open(image.file.path).convert("RGB")).copy())[None]
    attention = newest_attention(classifier, "tame").weights.path
    expected = explain(
        model.eval(), to_input(pixels, "imagenet"), again(row).answer["label"], "tame", attention=attention, scaled=True
    )
    assert np.allclose(map_of(again(row)).values, expected[0].numpy(), atol=1e-6)
    older = AttentionModule.objects.get(name="older")
    default_storage.delete(older.weights.name)
    with pytest.raises(QuestionRefused, match="not in the storage any more"):
        ask_mask(classifier, owner, image, method=f"tame:{older.uuid}")
    with pytest.raises(QuestionRefused, match="belongs to “earlier”, not to “other”"):
        ask_mask(asked_classifier_of(classifier), owner, image, method=f"tame:{older.uuid}")


def asked_classifier_of(classifier: Classifier) -> Classifier:
    """Another one with the same weights."""
    return Classifier.objects.create(
        name="other", architecture="sixconv", classes=classifier.classes, weights=classifier.weights.name
    )


# --- what is refused ---


@pytest.mark.parametrize(
    ("wish", "field", "sentence"),
    [
        ({"method": "magic"}, "method", "There is no method “magic”"),
        ({"method": "rise"}, "method", "start a run"),
        ({"method": "score_cam"}, "method", "start a run"),
        ({"method": "grad_cam", "label": "unicorn"}, "label", "There is no class “unicorn”"),
        ({"method": "grad_cam", "label": "2"}, "label", "classes 0 to 1"),
        ({"method": "smooth_grad", "options": {"samples": "0"}}, "samples", "below the smallest"),
        ({"method": "grad_cam", "options": {"samples": "3"}}, "samples", "There is no option “samples”"),
    ],
)
def test_a_wrong_question_is_refused_at_its_field(classifier, owner, image, wish, field, sentence) -> None:
    with pytest.raises(QuestionRefused) as caught:
        ask_mask(classifier, owner, image, **wish)
    assert list(caught.value.errors) == [field]
    assert sentence in caught.value.errors[field]
    assert not Inquiry.objects.exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (png(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))[:2000], "damaged or cut off"),
        (b"just text", "not a picture that can be read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "SVG"),
        (b"", "empty"),
    ],
)
def test_what_is_no_picture_is_refused_and_nothing_is_kept(classifier, owner, content, sentence) -> None:
    with pytest.raises(QuestionRefused, match=sentence):
        ask_mask(classifier, owner, SimpleUploadedFile("a.png", content), method="grad_cam")
    assert not Inquiry.objects.exists()
    assert not default_storage.exists("inquiries")


def test_a_picture_that_is_too_large_is_refused(classifier, owner, image, monkeypatch, settings) -> None:
    monkeypatch.setattr(inquiries, "MOST_BYTES", 100)
    with pytest.raises(QuestionRefused, match="Save it smaller"):
        ask_mask(classifier, owner, upload(image), method="grad_cam")
    monkeypatch.undo()
    settings.IMAGE_MAX_PIXELS = 100
    with pytest.raises(QuestionRefused, match="pixels"):
        ask_mask(classifier, owner, upload(image), method="grad_cam")


def test_nobody_fills_the_queue(classifier, owner, world, settings) -> None:
    settings.RUN_INQUIRY_MOST = 2
    images = world.part("train")
    for image in images[:2]:
        ask_mask(classifier, owner, image, method="grad_cam")
    with pytest.raises(QuestionRefused, match="2 questions of yours wait already"):
        ask_mask(classifier, owner, images[2], method="grad_cam")
    ask_mask(classifier, researcher(), images[2], method="grad_cam")  # others may


def test_weights_that_are_gone_are_said_at_once(classifier, owner, image) -> None:
    default_storage.delete(classifier.weights.name)
    with pytest.raises(QuestionRefused, match="not in the storage"):
        ask_mask(classifier, owner, image, method="grad_cam")


# --- what goes wrong ---


def test_a_question_that_cannot_be_sent_says_so(
    classifier, owner, image, settings, monkeypatch, django_capture_on_commit_callbacks
) -> None:
    from celery import current_app

    def refused(*args, **kwargs):
        raise OSError("no broker")

    monkeypatch.setattr(current_app, "send_task", refused)
    with django_capture_on_commit_callbacks(execute=True):
        row = ask_mask(classifier, owner, image, method="grad_cam")
    assert (again(row).state, again(row).reason) == ("failed", inquiries.NO_QUEUE)


def test_what_the_process_refuses_is_the_rows_reason(classifier, owner, image) -> None:
    row = ask_mask(classifier, owner, image, method="grad_cam", options={"layer": "attic"})
    answer(str(row.uuid))
    assert again(row).state == "failed"
    assert "There is no layer “attic”" in again(row).reason
    row = ask_mask(classifier, owner, upload(image), method="grad_cam")
    default_storage.delete(row.picture.name)
    answer(str(row.uuid))
    assert "mine.png is not in the storage any more" in again(row).reason


def test_an_answer_that_comes_too_late_changes_nothing(classifier, owner, image, monkeypatch) -> None:
    row = ask_mask(classifier, owner, image, method="grad_cam")
    asked = inquiry_server.server().ask

    def meanwhile(question, seconds):
        assert inquiries.give_up(again(row), "given up")
        return asked(question, seconds)

    monkeypatch.setattr(inquiry_server.server(), "ask", meanwhile)
    answer(str(row.uuid))
    assert (again(row).state, again(row).reason) == ("failed", "given up")
    assert not default_storage.listdir("inquiries")[1]  # its map was thrown away
    answer(str(row.uuid))  # nobody answers it again
    assert again(row).state == "failed"


def test_a_killed_process_costs_one_answer(classifier, owner, image, serving) -> None:
    first = ask_layers(classifier, owner)
    answer(str(first.uuid))
    before = serving.pid
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: serving.pid is None, 10)
    row = ask_mask(classifier, owner, image, method="grad_cam")
    answer(str(row.uuid))  # it is started again
    assert again(row).state == "answered", again(row).reason
    assert serving.pid != before


def test_a_process_that_dies_over_a_question_is_said_and_replaced(monkeypatch, tmp_path) -> None:
    dies = "import os, sys; sys.stdin.readline(); os.kill(os.getpid(), 9)"
    speaks = "import sys; sys.stdin.readline(); sys.exit('It went dark.')"
    for code, words in ((dies, "ended by the system"), (speaks, "ended with status 1. Its last words: It went dark.")):
        monkeypatch.setattr(inquiry_server, "COMMAND", (inquiry_server.sys.executable, "-c", code))
        with Server() as server:
            for _ in range(2):  # and the next one meets a fresh process
                with pytest.raises(NoAnswer, match=words):
                    server.ask({"kind": "layers"}, 30)


def test_a_hanging_question_is_ended_and_the_next_one_is_answered(classifier, owner, image, settings, serving) -> None:
    settings.RUN_INQUIRY_SECONDS = 0.001
    row = ask_mask(classifier, owner, image, method="grad_cam", label="0")
    answer(str(row.uuid))
    assert again(row).state == "failed"
    assert "took longer than 0.001 seconds" in again(row).reason
    assert serving.pid is None
    del settings.RUN_INQUIRY_SECONDS
    row = ask_mask(classifier, owner, image, method="grad_cam", label="0")
    answer(str(row.uuid))
    assert again(row).state == "answered", again(row).reason


def test_an_idle_process_is_ended(classifier) -> None:
    with Server() as server:
        server.ask(layers_question(classifier), 120)
        assert not server.end_if_idle(60)
        assert server.pid is not None
        time.sleep(0.05)
        assert server.end_if_idle(0.01)
        assert server.pid is None
        assert server.ask(layers_question(classifier), 120)["layers"]


# --- the whole way ---


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_real_worker_answers_and_ends_its_process(world, tmp_path) -> None:
    owner = researcher()
    classifier = asked_classifier(world, owner)
    here = Station(tmp_path, settings.BROKER_URL)
    try:
        worker = here.worker("interactive")
        wait_for(Worker.objects.exists)
        here.manage("shell", "-c", ASK.format(classifier=classifier.pk, owner=owner.pk))
        row = wait_for(lambda: Inquiry.objects.exclude(state__in=("waiting", "asked")).first(), 120)
        assert row.state == "answered", row.reason + here.said
        assert row.answer["label"] in (0, 1)
        marked = [pid for pid in processes_with("mlcore.training.serve") if parent_of(pid) == worker.pid]
        assert len(marked) == 1
        worker.terminate()
        assert worker.wait(30) == 0, here.said
        wait_for(lambda: not set(marked) & set(processes_with("mlcore.training.serve")), 20)
    finally:
        here.end()


ASK = """
from django.contrib.auth import get_user_model
from mlcore.models import Classifier, Image
from mlcore.runs.inquiries import ask_mask
owner = get_user_model().objects.get(pk={owner})
ask_mask(Classifier.objects.get(pk={classifier}), owner, Image.objects.first(), method="grad_cam")
"""


def parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stream:
        return int(stream.read().rsplit(")", 1)[1].split()[1])
