"""A researcher compares a picture with a gallery: asked of a real process, marked, asked again, seen by nobody else."""

import io

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils import timezone
from PIL import Image as Pictures

from mlcore.models import Classifier, FeatureGallery, Inquiry, Worker
from mlcore.runs.inquiries import answer
from tests.annotation.admin.world import administrator, owned_world
from tests.annotation.factories import researcher
from tests.mlcore.runs.asked import own_server, upload, weights
from tests.mlcore.runs.compared import make_gallery
from tests.mlcore.runs.world import make_classifier

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module", autouse=True)
def serving():
    """One process for all tests here: to load PyTorch takes longer than to answer."""
    with own_server() as made:
        yield made


@pytest.fixture
def owner():
    return researcher()


@pytest.fixture
def world(owner):
    return owned_world(owner)


@pytest.fixture
def classifier(world, owner) -> Classifier:
    made = make_classifier(world, weights=weights())
    Classifier.objects.filter(pk=made.pk).update(owner=owner)
    return Classifier.objects.get(pk=made.pk)


@pytest.fixture
def gallery(classifier, world) -> FeatureGallery:
    return make_gallery(classifier, world.image_set)


@pytest.fixture
def browse(client, owner):
    client.force_login(owner)
    return client


def at(name: str, *args) -> str:
    return reverse(f"admin:mlcore_classifier_{name}", args=args)


def ask(browse, classifier, compared_with, **data):
    usual = {"matcher": "cosine_corr", "gallery": compared_with.pk}
    return browse.post(at("compare", classifier.pk), usual | data)


def asked(browse, classifier, gallery, **data) -> Inquiry:
    sent = ask(browse, classifier, gallery, **data)
    assert sent.status_code == 302, sent.content.decode()
    row = Inquiry.objects.order_by("-pk").first()
    assert sent.url == at("compared", classifier.pk, row.pk)
    answer(str(row.uuid))
    row.refresh_from_db()
    assert row.state == "answered", row.reason
    return row


def page_of(browse, classifier, row: Inquiry) -> str:
    return " ".join(browse.get(at("compared", classifier.pk, row.pk)).content.decode().split())


def test_without_a_gallery_the_page_says_how_to_build_one(browse, classifier, world) -> None:
    page = " ".join(browse.get(at("compare", classifier.pk)).content.decode().split())
    assert "There is nothing to compare with yet" in page
    assert f"{reverse('admin:mlcore_run_start')}?kind=correspond&amp;classifier={classifier.pk}" in page
    assert f"manage.py gallery build --classifier {str(classifier.uuid)[:8]}" in page
    assert '<form class="h-stack h-look-form"' not in page


def test_a_picture_is_compared_and_marked(browse, classifier, gallery, world) -> None:
    Worker.objects.create(name="there:1", queues="interactive", seen=timezone.now())
    image = world.part("validation")[0]
    choose = browse.get(at("compare", classifier.pk)).content.decode()
    assert f"{world.image_set} (11 images)" in choose
    row = asked(browse, classifier, gallery, image=image.pk)
    page = page_of(browse, classifier, row)
    assert page.count('name="cell"') == 16
    assert 'aria-label="Row 4, column 2"' in page
    assert at("inquiry_neighbour", row.pk, 1, 0, 320) in page
    assert at("inquiry_neighbour", row.pk, 0, 0, 320) in page
    assert "With your marks" not in page
    assert "11 images, 4×4 cells" in page
    marked = asked(
        browse, classifier, gallery, again=row.pk, cells_of=gallery.pk, cell=["0-1", "3-3", "x", "1", "-", "9" * 5000]
    )
    assert marked.question["marked"] == [[0, 1], [3, 3]]
    page = page_of(browse, classifier, marked)
    assert page.index("Without marks") < page.index("With your marks")
    assert page.count("checked>") == 2
    before, after = (one.answer["ways"][-1] for one in (row, marked))
    change = page.split('class="h-match-change"')[1].split("</p>")[0]
    assert before["name"].replace("_", " ") in change
    assert ("the same class" in change) == (before["label"] == after["label"])
    assert page.count('svg class="marks"') == 2 * (1 + 10)


def test_an_upload_shows_no_verdict_and_is_its_owners_alone(browse, client, classifier, gallery, world) -> None:
    image = world.part("validation")[0]
    row = asked(browse, classifier, gallery, picture=upload(image))
    page = page_of(browse, classifier, row)
    assert "check_circle" not in page
    assert "cancel</span>wrong" not in page
    pages = [
        at("compared", classifier.pk, row.pk), at("inquiry_state", row.pk), at("inquiry_picture", row.pk, 320),
        at("inquiry_window", row.pk, 480), at("inquiry_neighbour", row.pk, 0, 0, 320),
        at("inquiry_matches", row.pk, "svg"),
    ]  # fmt: skip
    assert [browse.get(one).status_code for one in pages] == [200] * 6
    client.force_login(administrator())  # who sees the classifier, but not what others upload
    assert [client.get(one).status_code for one in pages] == [404] * 6
    assert client.get(at("compare", classifier.pk)).status_code == 200
    again = {"matcher": "knn", "gallery": gallery.pk, "again": row.pk}
    assert client.post(at("compare", classifier.pk), again).status_code == 404
    client.force_login(researcher())
    assert [client.get(one).status_code for one in [*pages, at("compare", classifier.pk)]] == [404] * 7
    client.force_login(get_user_model().objects.create_user("annotator"))
    assert {client.get(one).status_code for one in pages} <= {302, 403}


def test_the_window_and_the_files(browse, classifier, gallery, world) -> None:
    row = asked(browse, classifier, gallery, image=world.part("test")[0].pk)
    window = browse.get(at("inquiry_window", row.pk, 480))
    assert Pictures.open(io.BytesIO(window.content)).size == (32, 32)
    assert browse.get(at("inquiry_window", row.pk, 77)).status_code == 404
    png = browse.get(at("inquiry_matches", row.pk, "png") + "?width=800")
    assert Pictures.open(io.BytesIO(png.content)).width == 800
    for way, index in ((2, 0), (0, 99)):
        assert browse.get(at("inquiry_neighbour", row.pk, way, index, 320)).status_code == 404
    waiting = Inquiry.objects.create(
        owner=row.owner, kind="match", classifier=classifier, question=row.question | {"as_of": ""}
    )
    for page in (at("inquiry_window", waiting.pk, 480), at("inquiry_matches", waiting.pk, "png")):
        assert browse.get(page).status_code == 404


def test_marks_go_only_with_the_grid_and_a_matcher_that_takes_them(browse, classifier, gallery, world) -> None:
    image = world.part("test")[0]
    row = asked(browse, classifier, gallery, image=image.pk)
    other = make_gallery(classifier, world.image_set, "features.11")
    again = {"again": row.pk, "cells_of": gallery.pk, "cell": "0-1"}
    assert asked(browse, classifier, gallery, **again | {"matcher": "emd_corr"}).question["marked"] is None
    finer = asked(browse, classifier, other, **again)
    assert finer.question["marked"] is None
    assert finer.answer["grid"] == [other.height, other.width]
    choose = browse.get(at("compare", classifier.pk)).content.decode()
    assert choose.index("(11 images)") < choose.index("(11 images, features.11)"), "the usual layer stands first"
    page = page_of(browse, classifier, Inquiry.objects.get(question__matcher="emd_corr"))
    assert 'name="cell"' not in page
    assert "can be marked for CHM-Corr and the cosine matcher" in page


def test_what_is_wrong_stands_at_its_field(browse, classifier, gallery, world) -> None:
    image = world.part("test")[0]
    theirs = owned_world(researcher(), "others")
    foreign = make_gallery(classifier, theirs.image_set)
    for data, sentence in (
        ({}, "Choose a picture"),
        ({"image": image.pk, "gallery": foreign.pk}, "Choose the images to compare with."),
        ({"image": image.pk, "gallery": "x"}, "Choose the images to compare with."),
        ({"image": theirs.part("test")[0].pk}, "belongs to someone else"),
        ({"image": image.pk, "matcher": "magic"}, "There is no way “magic”"),
        ({"image": image.pk, "matcher": "chm_corr"}, "has no trained correspondence network"),
        ({"image": image.pk, "options_of": "cosine_corr", "option.votes": "0"}, "below the smallest"),
    ):
        refused = ask(browse, classifier, gallery, **data)
        assert refused.status_code == 422, data
        assert sentence in refused.content.decode(), data
    assert not Inquiry.objects.exists()


def test_options_stay_with_their_matcher(browse, classifier, gallery, world) -> None:
    image = world.part("test")[0]
    given = {"image": image.pk, "options_of": "cosine_corr", "option.best": "3", "option.neighbours": "4"}
    row = asked(browse, classifier, gallery, **given)
    assert row.question["options"] == {"best": 3, "neighbours": 4}
    assert [len(way["neighbours"]) for way in row.answer["ways"]] == [4, 4]
    assert "2 changed" in page_of(browse, classifier, row)
    assert asked(browse, classifier, gallery, **given | {"matcher": "knn"}).question["options"] == {}


def test_the_classifiers_page_leads_there(browse, classifier) -> None:
    page = browse.get(reverse("admin:mlcore_classifier_change", args=[classifier.pk])).content.decode()
    assert at("compare", classifier.pk) in page


def test_where_no_worker_lives_the_page_says_so(browse, classifier, gallery, world) -> None:
    ask(browse, classifier, gallery, image=world.part("test")[0].pk)
    page = page_of(browse, classifier, Inquiry.objects.get())
    assert "No worker answers questions." in page
    assert "data-waits" in page
    assert "data-answer" not in page


def test_queries_do_not_grow(browse, classifier, gallery, world, django_assert_max_num_queries) -> None:
    row = asked(browse, classifier, gallery, image=world.part("test")[0].pk)
    for page in (at("compare", classifier.pk), at("compared", classifier.pk, row.pk)):
        with django_assert_max_num_queries(16):
            assert browse.get(page).status_code == 200
