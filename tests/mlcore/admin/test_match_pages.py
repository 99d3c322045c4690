"""Pages of neighbours and matched patches: what they say, whose they are, and the files that they give."""

import io
import uuid

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse
from PIL import Image as Pictures

from mlcore.admin.match_shown import in_words
from mlcore.exchange.correspondences import add_correspondences
from mlcore.models import Explanation, ExplanationSet, Image, ImageLabel, ImageSet, Prediction
from tests.annotation.factories import explain, researcher

pytestmark = pytest.mark.django_db
PATCHES = [
    {"query": [0, 0, 0.25, 0.25], "neighbour": [0.4, 0.4, 0.6, 0.6], "score": 0.8},
    {"query": [0.75, 0.75, 1, 1], "neighbour": [0, 0.75, 0.25, 1], "score": 0.2},
]


def at(name: str, *args) -> str:
    return reverse(f"admin:mlcore_explanationset_{name}", args=args)


def compared(classifier, world, method: str, patches=(), says: int = 0):
    """Of every image all others."""
    images = list(Image.objects.filter(image_set=world.image_set).order_by("pk"))
    rows = []
    for place, image in enumerate(images):
        others = images[place + 1 :] + images[:place]
        items = [{"image": other, "score": 0.9 - 0.05 * number} for number, other in enumerate(others)]
        items = [item | {"patches": list(patches)} for item in items] if patches else items
        rows.append({"image": image, "predicted": says, "confidence": 0.85, "neighbours": items})
    return add_correspondences(
        classifier, world.image_set, rows, owner=classifier.owner, method=method,
        payload="matches" if patches else "neighbours", options={"votes": 20},
    )  # fmt: skip


@pytest.fixture
def nearest(classifier, world):
    return compared(classifier, world, "knn")


@pytest.fixture
def matched(classifier, world, nearest):
    return compared(classifier, world, "emd_corr", PATCHES)


@pytest.fixture
def one(matched) -> Explanation:
    return matched.explanations.select_related("image").order_by("pk")[1]


def test_the_page_says_what_each_way_said(client, rita, matched, one) -> None:
    page = client.get(at("match", one.pk))
    text = " ".join(page.content.decode().split())
    classes = matched.classifier.classes
    truth = one.image.labels.get().index
    assert f"<dt>It shows</dt><dd>{classes[truth]}</dd>" in text
    for title in ("Nearest neighbours", "EMD-Corr"):
        assert f"<h2>{title}</h2>" in text
    assert text.count(f"<b>{classes[0]}, 17 of 20 votes (85 %)</b>") == 2
    verdict = "check_circle</span>right" if truth == 0 else "cancel</span>wrong"
    assert text.count(verdict) == 2
    neighbours = len(one.data["neighbours"])
    assert text.count('class="neighbour in-hand"') == 1
    assert text.count('<rect class="line"') == 2 * 2 * neighbours
    assert text.count("Part 1: top left of the picture, middle here") == neighbours
    assert text.count("Part 2: bottom right of the picture, bottom left here") == neighbours
    assert at("match_file", one.pk, "svg") in text


def test_pictures_lie_before_and_after_in_the_set(client, rita, matched, one) -> None:
    before, after = (one.set.explanations.order_by("pk")[place] for place in (0, 2))
    text = client.get(at("match", one.pk)).content.decode()
    assert at("match", before.pk) in text
    assert at("match", after.pk) in text
    first = client.get(at("match", before.pk)).content.decode()
    assert "Picture before" not in first
    assert "Next picture" in first


def test_neighbours_alone_show_their_query(client, rita, nearest) -> None:
    one = nearest.explanations.first()
    text = client.get(at("match", one.pk)).content.decode()
    assert "h-match-query" in text
    assert 'class="chip' not in text
    assert at("match_neighbour", one.pk, 0, 320) in text


def test_a_way_is_found_by_its_set_and_image(client, rita, matched, one) -> None:
    assert client.get(at("match_of", matched.pk, one.image.uuid)).url == at("match", one.pk)
    assert client.get(at("match_of", matched.pk, uuid.uuid4())).status_code == 404
    listed = client.get(at("change", matched.pk)).content.decode()
    assert at("match", one.pk) in listed
    assert "EMD-Corr" in listed


def test_neighbours_are_pictures(client, rita, one) -> None:
    answer = client.get(at("match_neighbour", one.pk, 0, 320))
    assert answer["Content-Type"] == "image/jpeg"
    shown = Image.objects.get(uuid=one.data["neighbours"][0]["image"])
    assert Pictures.open(io.BytesIO(answer.content)).size == (shown.width, shown.height)
    again = client.get(at("match_neighbour", one.pk, 0, 320), headers={"If-None-Match": answer["ETag"]})
    assert again.status_code == 304
    assert client.get(at("match_neighbour", one.pk, 99, 320)).status_code == 404
    assert client.get(at("match_neighbour", one.pk, 0, 77)).status_code == 404
    assert client.post(at("match_neighbour", one.pk, 0, 320)).status_code == 405


def test_files_to_print(client, rita, one) -> None:
    png = client.get(at("match_file", one.pk, "png") + "?width=800&neighbours=2")
    assert (png["Content-Type"], Pictures.open(io.BytesIO(png.content)).width) == ("image/png", 800)
    assert png["Content-Disposition"].endswith('-emd-corr.png"')
    assert "no-store" in png["Cache-Control"]
    svg = client.get(at("match_file", one.pk, "svg"))
    assert svg["Content-Type"] == "image/svg+xml"
    assert "attachment" in svg["Content-Disposition"]
    assert svg.content.startswith(b"<?xml")
    for wrong in ("png?width=20", "png?width=99999", "png?width=wide", "gif"):
        kind, _, query = wrong.partition("?")
        assert client.get(f"{at('match_file', one.pk, kind)}?{query}").status_code == 404


def test_a_map_has_no_such_page(client, rita, world, classifier) -> None:
    maps = explain(world.part("test"), classifier=classifier, target=0, owner=rita)
    found = maps.explanations.first()
    for page in (at("match", found.pk), at("match_file", found.pk, "png"), at("match_neighbour", found.pk, 0, 320)):
        assert client.get(page).status_code == 404


def test_a_neighbour_that_is_gone_is_passed_over(client, rita, one) -> None:
    gone = one.data["neighbours"][0]["image"]
    Image.objects.filter(uuid=gone).delete()
    page = client.get(at("match", one.pk))
    assert page.status_code == 200
    assert at("match_neighbour", one.pk, 0, 320) not in page.content.decode()
    assert at("match_neighbour", one.pk, 1, 320) in page.content.decode()
    assert client.get(at("match_neighbour", one.pk, 0, 320)).status_code == 404


def test_nobody_else_sees_them(client, rita, one) -> None:
    pages = [
        at("match", one.pk), at("match_file", one.pk, "png"), at("match_neighbour", one.pk, 0, 320),
        at("match_of", one.set_id, one.image.uuid),
    ]  # fmt: skip
    assert [client.get(page).status_code for page in pages] == [200, 200, 200, 302]
    client.force_login(researcher())
    assert [client.get(page).status_code for page in pages] == [404] * 4
    client.force_login(get_user_model().objects.create_user("annotator"))
    assert {client.get(page).status_code for page in pages} <= {302, 403}


def test_queries_do_not_grow(client, rita, one, django_assert_max_num_queries) -> None:
    with django_assert_max_num_queries(16):
        assert client.get(at("match", one.pk)).status_code == 200


def test_the_list_says_what_the_vote_says_in_the_classes_compared_with(client, rita, world, matched, one) -> None:
    """The classes of another gallery are numbered otherwise; the head's own prediction is another matter."""
    other = ImageSet.objects.create(name="elsewhere", owner=rita, classes=["nobody", *world.image_set.classes])
    ExplanationSet.objects.filter(pk=matched.pk).update(options={"gallery": str(other.uuid), "votes": 20})
    for row in matched.explanations.all():
        row.target = 1  # the first class of these images, the second of those
        row.data["confidence"] = 0.35
        row.save()
    Prediction.objects.update(label=0, confidence=0.99)
    text = " ".join(client.get(at("change", matched.pk)).content.decode().split())
    count = matched.explanations.count()
    assert text.count(f"<b>{world.image_set.classes[0]}</b> 35 %") == count
    assert "99 %" not in text
    wrong = ImageLabel.objects.filter(image__image_set=world.image_set, index=1).count()
    assert text.count('class="h-wrong"') == wrong
    assert 0 < wrong < count
    only = client.get(at("change", matched.pk) + "?show=wrong").content.decode()
    assert only.count("<figure") == wrong
    page = " ".join(client.get(at("match", one.pk)).content.decode().split())
    assert f"{world.image_set.classes[0]}, 7 of 20 votes (35 %)" in page


def test_places_in_words() -> None:
    corners = {"middle": [0.4, 0.4, 0.6, 0.6], "middle left": [0, 0.4, 0.2, 0.6], "bottom centre": [0.4, 0.8, 0.6, 1]}
    for words, box in corners.items():
        assert in_words([{"query": box, "neighbour": [0.9, 0, 1, 0.1]}]) == [
            f"Part 1: {words} of the picture, top right here"
        ]
