"""Pages of a classifier that ask it something short: they wait, show the answer, and show it to nobody else."""

import io

import numpy as np
import pytest
from django.contrib.auth import get_user_model
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone
from PIL import Image as Pictures

from mlcore.exchange import storage, windows
from mlcore.models import AttentionModule, Classifier, Inquiry, Worker
from mlcore.runs.inquiries import give_up, picture_of
from tests.annotation.admin.world import administrator, owned_world
from tests.annotation.factories import researcher
from tests.mlcore.runs.asked import upload
from tests.mlcore.runs.world import make_classifier

pytestmark = pytest.mark.django_db

ROWS = [
    {"name": "features.0", "type": "Conv2d", "channels": 16, "height": 16, "width": 16, "suggested": ["tame"]},
    {"name": "features.1.inner", "type": "ReLU", "channels": 16, "height": 8, "width": 8, "suggested": []},
    {"name": "features", "type": "Sequential", "channels": 96, "height": 4, "width": 4,
     "suggested": ["grad_cam", "tame"]},
]  # fmt: skip


@pytest.fixture
def owner():
    return researcher()


@pytest.fixture
def world(owner):
    return owned_world(owner)


@pytest.fixture
def classifier(world, owner) -> Classifier:
    made = make_classifier(world)
    Classifier.objects.filter(pk=made.pk).update(owner=owner)
    return Classifier.objects.get(pk=made.pk)


@pytest.fixture
def browse(client, owner):
    client.force_login(owner)
    return client


def at(name: str, *args) -> str:
    return reverse(f"admin:mlcore_classifier_{name}", args=args)


def answered(row: Inquiry, values: np.ndarray | None = None) -> Inquiry:
    """As the worker leaves it: class 1 is explained, a map of 4 × 4."""
    values = np.arange(16, dtype=np.float32).reshape(4, 4) if values is None else values
    name = storage.put(f"inquiries/{row.uuid}-map.npy", windows.npy(values))
    shown = picture_of(row)
    row.state, row.ended = "answered", timezone.now()
    row.answer = {
        "label": 1, "confidence": 0.25, "status": "ok", "seconds": 0.5, "device": "cpu", "map": name,
        "predictions": [{"label": 0, "confidence": 0.75}, {"label": 1, "confidence": 0.25}],
        "picture": [shown.width, shown.height], "window": [0, 0, shown.width, shown.height], "height": 4, "width": 4,
    }  # fmt: skip
    row.save()
    return row


def ask(browse, classifier: Classifier, **data):
    return browse.post(at("look", classifier.pk), {"method": "grad_cam", **data})


# --- layers ---


def test_layers_are_asked_for_once_and_then_stand_there(browse, classifier, owner) -> None:
    Worker.objects.create(name="there:1", queues="interactive", seen=timezone.now())
    address = at("layers", classifier.pk)
    first = browse.get(address).content.decode()
    assert "data-auto" in first
    assert not Inquiry.objects.exists()  # looking asks nothing; the page's own form does
    browse.post(address)
    browse.post(address)
    row = Inquiry.objects.get()
    assert (row.owner, row.kind, row.state) == (owner, "layers", "waiting")
    waiting = browse.get(address).content.decode()
    assert at("inquiry_state", row.pk) in waiting
    assert "data-auto" not in waiting
    Classifier.objects.filter(pk=classifier.pk).update(layers=ROWS)
    done = browse.get(address).content.decode()
    assert '<code class="h-mono" id="tame-layers">features.0,features</code>' in done
    assert "data-waits" not in done
    stages, inside = done.split("Inside the blocks")
    assert "features.1.inner" in inside
    assert "features.1.inner" not in stages
    assert "16×16" in stages


def test_layers_without_a_worker_say_what_to_start(browse, classifier) -> None:
    page = browse.get(at("layers", classifier.pk)).content.decode()
    assert "No worker answers questions" in page
    assert "data-auto" not in page  # it would wait in vain
    browse.post(at("layers", classifier.pk))
    give_up(Inquiry.objects.get(), "It went dark.")
    failed = browse.get(at("layers", classifier.pk)).content.decode()
    assert "It went dark." in failed
    assert "List them again" in failed
    assert "data-auto" not in failed


def test_a_classifier_without_such_layers_is_asked_once(browse, classifier) -> None:
    Worker.objects.create(name="there:1", queues="interactive", seen=timezone.now())
    browse.post(at("layers", classifier.pk))
    Inquiry.objects.update(state="answered", ended=timezone.now(), answer={"image_size": 32, "seconds": 0.1})
    page = browse.get(at("layers", classifier.pk)).content.decode()
    assert "data-auto" not in page  # it would ask for ever
    assert "has no layer that a map can be taken from" in page


def test_a_classifier_that_cannot_be_built_is_a_sentence(browse, classifier) -> None:
    Classifier.objects.filter(pk=classifier.pk).update(classes=[])
    refused = browse.post(at("layers", classifier.pk))
    assert refused.status_code == 422
    assert "has no architecture or no classes here" in refused.content.decode()


# --- a picture ---


def test_an_uploaded_picture_is_asked_about_and_shown(browse, classifier, world, owner) -> None:
    image = world.part("validation")[0]
    sent = ask(browse, classifier, picture=upload(image), label="")
    row = Inquiry.objects.get()
    assert sent.url == at("looked", classifier.pk, row.pk)
    assert row.question["label"] is None
    assert browse.get(at("inquiry_state", row.pk)).json() == {"state": "waiting", "open": True}
    waiting = browse.get(sent.url).content.decode()
    assert "The classifier looks at the picture" in waiting
    assert at("inquiry_picture", row.pk, 640) in waiting
    assert "inquiry_layer" not in waiting
    answered(row)
    assert browse.get(at("inquiry_state", row.pk)).json() == {"state": "answered", "open": False}
    done = browse.get(f"{sent.url}?style=spotlight&colours=magma&opacity=30").content.decode()
    assert at("inquiry_layer", row.pk, "spotlight", "magma", 640) in done
    assert 'value="30"' in done
    assert "75.0 %" in done
    assert f"Grad-CAM of <b>{classifier.classes[1]}</b>, 25.0 %." in " ".join(done.split())


def test_the_picture_and_the_map_are_pictures(browse, classifier, world) -> None:
    ask(browse, classifier, picture=upload(world.part("validation")[0]))
    row = answered(Inquiry.objects.get())
    picture = browse.get(at("inquiry_picture", row.pk, 320))
    assert picture["Content-Type"] == "image/jpeg"
    assert picture["Cache-Control"].startswith("private")
    layer = browse.get(at("inquiry_layer", row.pk, "overlay", "cividis", 320))
    assert Pictures.open(io.BytesIO(layer.content)).size == (320, 320)
    numbers = browse.get(at("inquiry_file", row.pk, "npy"))
    assert np.array_equal(np.load(io.BytesIO(numbers.content)), np.arange(16).reshape(4, 4))
    assert Pictures.open(io.BytesIO(browse.get(at("inquiry_file", row.pk, "png")).content)).size == (32, 32)
    for address in (
        at("inquiry_layer", row.pk, "glitter", "cividis", 320), at("inquiry_layer", row.pk, "overlay", "neon", 320),
        at("inquiry_picture", row.pk, 321), at("inquiry_file", row.pk, "exe"),
    ):  # fmt: skip
        assert browse.get(address).status_code == 404
    default_storage.delete(row.answer["map"])
    assert browse.get(at("inquiry_layer", row.pk, "overlay", "cividis", 160)).status_code == 404
    assert "not kept any more" in browse.get(at("looked", classifier.pk, row.pk)).content.decode()


def test_an_image_of_a_set_is_picked(browse, classifier, world) -> None:
    image = world.part("validation")[1]
    page = browse.get(at("look", classifier.pk), {"image_set": world.image_set.pk, "find": "validation"})
    picked = page.content.decode()
    assert f'value="{image.pk}"' in picked
    assert f'value="{world.part("test")[0].pk}"' not in picked
    ask(browse, classifier, image=image.pk, label=classifier.classes[1])
    row = Inquiry.objects.get()
    assert (row.question["file"], row.question["label"]) == (image.file.name, 1)
    assert not row.picture


def test_the_next_class_keeps_the_picture_and_the_drawing(browse, classifier, world) -> None:
    ask(browse, classifier, picture=upload(world.part("validation")[0]))
    first = answered(Inquiry.objects.get())
    # A button of what the classifier says stands above what is typed.
    sent = ask(browse, classifier, again=first.pk, label="typed before", said="1", style="contour", opacity="20")
    second = Inquiry.objects.exclude(pk=first.pk).get()
    assert second.question["label"] == 1
    assert second.picture.name == first.picture.name
    assert sent.url == f"{at('looked', classifier.pk, second.pk)}?style=contour&colours=cividis&opacity=20"
    page = browse.get(sent.url).content.decode()
    assert f'value="{classifier.classes[1]}"' in page  # the form says what was asked


def test_options_belong_to_their_method(browse, classifier, world) -> None:
    image = world.part("validation")[0]
    data = {"image": image.pk, "options_of": "grad_cam", "option.layer": "features.5", "option.preset": "default"}
    ask(browse, classifier, **data)
    row = Inquiry.objects.get()
    assert row.question["options"] == {"layer": "features.5"}
    page = browse.get(at("looked", classifier.pk, row.pk)).content.decode()
    assert 'value="features.5"' in page
    assert "1 changed" in page
    ask(browse, classifier, **data | {"method": "smooth_grad", "option.preset": "gradia"})
    assert Inquiry.objects.first().question["options"] == {}  # those of the method before are left behind
    refused = ask(
        browse, classifier, image=image.pk, method="smooth_grad", options_of="smooth_grad", **{"option.samples": "0"}
    )
    assert refused.status_code == 422
    assert "0 is below the smallest allowed value" in refused.content.decode()


def test_what_is_wrong_stands_at_its_field_and_nothing_is_asked(browse, classifier, world) -> None:
    image = world.part("validation")[0]
    other = owned_world(researcher(), "others").part("validation")[0]
    for data, sentence in (
        ({}, "Choose a picture"),
        ({"picture": SimpleUploadedFile("a.png", b"no picture")}, "not a picture that can be read"),
        ({"image": image.pk, "label": "unicorn"}, "There is no class “unicorn”"),
        ({"image": image.pk, "label": "9" * 5000}, "there is no class 99999"),
        ({"image": "9" * 5000}, "Choose a picture"),
        ({"image": image.pk, "method": "rise"}, "start a run"),
        ({"image": image.pk, "method": "tame"}, "has no trained attention module of"),
        ({"image": other.pk}, "belongs to someone else"),
        ({"image": "9" * 6}, "There is no such image"),
    ):
        refused = ask(browse, classifier, **data)
        assert refused.status_code == 422, data
        assert sentence in refused.content.decode(), data
    assert not Inquiry.objects.exists()


def test_a_sentence_at_a_field_is_read_out_with_it(browse, classifier, world) -> None:
    image = world.part("test")[0].pk
    wrong = {"image": image, "method": "smooth_grad", "options_of": "smooth_grad", "option.samples": "0"}
    refused = ask(browse, classifier, **wrong).content.decode()
    field = refused.split('name="option.samples"')[1].split(">")[0]
    assert 'aria-describedby="error_option.samples help_option.samples"' in field
    assert 'id="error_option.samples"' in refused
    for name, data in (("picture", {}), ("method", {"image": image, "method": "rise"})):
        refused = ask(browse, classifier, **data).content.decode()
        field = refused.split(f'id="look-{name}"')[1].split(">")[0]
        assert f"look-{name}-error" in field.split('aria-describedby="')[1].split('"')[0].split()
        assert 'aria-invalid="true"' in field
        assert f'id="look-{name}-error"' in refused


def test_methods_that_take_long_are_not_offered_and_attention_is_where_it_is_trained(browse, classifier) -> None:
    page = browse.get(at("look", classifier.pk)).content.decode()
    assert 'value="lrp"' in page
    assert 'value="rise"' not in page
    assert 'value="score_cam"' not in page
    assert 'value="tame' not in page
    made = AttentionModule.objects.create(
        name="mine", classifier=classifier, kind="tame", weights="attention/x.safetensors", sha256="0"
    )
    page = browse.get(at("look", classifier.pk)).content.decode()
    assert f'<option value="tame:{made.uuid}" selected>TAME: mine</option>' in " ".join(page.split())


# --- whose it is ---


def test_nobody_else_sees_a_question_or_its_picture(browse, client, classifier, world) -> None:
    ask(browse, classifier, picture=upload(world.part("validation")[0]))
    row = answered(Inquiry.objects.get())
    pages = [
        at("looked", classifier.pk, row.pk), at("inquiry_state", row.pk), at("inquiry_picture", row.pk, 320),
        at("inquiry_layer", row.pk, "overlay", "cividis", 320), at("inquiry_file", row.pk, "npy"),
    ]  # fmt: skip
    assert [browse.get(page).status_code for page in pages] == [200] * len(pages)
    whole = [at("look", classifier.pk), at("layers", classifier.pk)]
    client.force_login(administrator())  # an administrator sees the classifier, but not what others upload
    assert [client.get(page).status_code for page in pages] == [404] * len(pages)
    assert [client.get(page).status_code for page in whole] == [200, 200]
    client.force_login(researcher())
    assert [client.get(page).status_code for page in pages + whole] == [404] * 7
    posts = [client.post(page, {"method": "grad_cam", "again": row.pk}).status_code for page in whole]
    assert posts == [404, 404]
    client.force_login(get_user_model().objects.create_user("annotator"))
    assert {client.get(page).status_code for page in pages + whole} <= {302, 403}
    client.logout()
    assert {client.get(page).status_code for page in pages + whole} == {302}
    assert Inquiry.objects.count() == 1


def test_anothers_question_cannot_be_asked_again(client, browse, classifier, world) -> None:
    ask(browse, classifier, picture=upload(world.part("validation")[0]))
    row = Inquiry.objects.get()
    client.force_login(administrator())
    assert client.post(at("look", classifier.pk), {"method": "grad_cam", "again": row.pk}).status_code == 404


def test_the_classifiers_page_leads_there(browse, classifier) -> None:
    page = browse.get(reverse("admin:mlcore_classifier_change", args=[classifier.pk])).content.decode()
    assert at("look", classifier.pk) in page
    assert at("layers", classifier.pk) in page


def test_queries_do_not_grow(browse, classifier, world, django_assert_max_num_queries) -> None:
    Classifier.objects.filter(pk=classifier.pk).update(layers=ROWS * 200)
    ask(browse, classifier, image=world.part("validation")[0].pk)
    row = answered(Inquiry.objects.get())
    for page in (at("layers", classifier.pk), at("look", classifier.pk), at("looked", classifier.pk, row.pk)):
        with django_assert_max_num_queries(12):
            assert browse.get(page).status_code == 200
