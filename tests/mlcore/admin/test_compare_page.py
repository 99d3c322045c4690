"""Maps side by side: what stands in the address decides what is shown; files and layers are one's own."""

import io

import numpy as np
import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from PIL import Image as Pictures

from annotation.people import add_annotator
from mlcore.admin import compare
from mlcore.exchange.shards import load_map
from mlcore.models import Explanation, ExplanationSet, Run, Score
from tests.annotation.factories import explain, researcher
from tests.mlcore.admin.scored import Scored, make_scored

pytestmark = pytest.mark.django_db


@pytest.fixture
def made(db) -> Scored:
    return make_scored()


@pytest.fixture
def opened(made, client):
    client.force_login(made.owner)

    def get(query: str = "") -> str:
        answer = client.get(f"{reverse('admin:mlcore_imageset_maps', args=[made.image_set.pk])}?{query}")
        assert answer.status_code == 200
        return answer.content.decode()

    return get


def addresses(made: Scored) -> dict[str, str]:
    """Every new page and file about something that `made.owner` owns."""
    row = Explanation.objects.filter(set=made.sets["lrp"]).first()
    rows = {
        "imageset_maps": [made.image_set.pk],
        "imageset_scores": [made.image_set.pk],
        "imageset_scores_csv": [made.image_set.pk],
        "explanationset_extremes": [made.sets["lrp"].pk],
        "explanationset_layer": [row.pk, "overlay", "cividis", 96],
        "explanationset_file npy": [row.pk, "npy"],
        "explanationset_file png": [row.pk, "png"],
        "explanationset_file png16": [row.pk, "png16"],
        "run_change": [made.run.pk],
    }
    return {name: reverse(f"admin:mlcore_{name.split()[0]}", args=args) for name, args in rows.items()}


@pytest.mark.parametrize("who", ["owner", "administrator", "another", "annotator", "nobody"])
def test_every_address_is_its_owners_alone(made, client, django_user_model, who):
    person = {
        "owner": lambda: made.owner,
        "administrator": lambda: django_user_model.objects.create(username="a", is_staff=True, is_superuser=True),
        "another": researcher,
        "annotator": lambda: add_annotator("anna"),
        "nobody": AnonymousUser,
    }[who]()
    if who != "nobody":
        client.force_login(person)
    found = {name: client.get(address).status_code for name, address in addresses(made).items()}
    allowed = {"owner": {200}, "administrator": {200}, "another": {404}, "annotator": {302, 403}, "nobody": {302}}
    assert set(found.values()) <= allowed[who], found


def test_another_researchers_maps_of_the_same_images_stay_theirs(made, opened):
    theirs = explain(made.images, owner=researcher(), method="layer_cam")
    shown = opened(f"set={theirs.pk}")
    assert "Layer-CAM" not in shown
    assert shown.count('class="h-layer"') == 3  # the usual choice instead


def test_the_choice_is_read_from_the_address_and_kept_for_the_next_image(made, opened):
    chosen = made.sets["lrp"]
    first, second, third = made.images[:3]
    shown = opened(f"image={second.pk}&set={chosen.pk}&style=contour&colours=magma&opacity=35&metric=complexity")
    assert shown.count('class="h-layer"') == 1
    assert f"/layer/contour/magma/{compare.SIDE}/" in shown
    kept = f"set={chosen.pk}&amp;metric=complexity&amp;style=contour&amp;colours=magma&amp;scale=own&amp;opacity=35"
    assert f'href="?{kept}&amp;image={first.pk}"' in shown
    assert f'href="?{kept}&amp;image={third.pk}"' in shown
    assert "Complexity ↓" in shown
    assert "0.117" in shown  # (1 + 1 / 6) / 10
    assert "explains <b>Monarch</b>" in shown
    assert "is Zebra" in shown
    assert 'data-go="before"' not in opened(f"image={first.pk}")
    assert 'data-go="after"' not in opened(f"image={made.images[-1].pk}")


def test_unknown_words_in_the_address_fall_back_to_the_usual(made, opened):
    shown = opened("style=neon&colours=jet&scale=huge&opacity=9999&image=abc&set=x&metric=nothing")
    assert f"/layer/overlay/cividis/{compare.SIDE}/" in shown
    assert 'value="100"' in shown
    assert made.images[0].name in shown


def test_a_set_that_is_named_or_a_classifier_come_first(made):
    offered = list(ExplanationSet.objects.order_by("pk"))
    read = compare.read(QueryDict(f"with={offered[2].pk}"), offered, [])
    assert offered[2] in read.sets
    other = explain(made.images, owner=made.owner)
    read = compare.read(QueryDict(f"classifier={other.classifier_id}"), [*offered, other], [])
    assert read.sets == [other]
    many = QueryDict("&".join(f"metric={name}" for name in ("b", "a")))
    assert compare.read(many, offered, ["a", "b", "c"]).metrics == ["a", "b"]
    assert compare.read(QueryDict("metric="), offered, ["a"]).metrics == []


def test_a_common_scale_is_shared_by_maps_of_one_method(made, client, opened):
    bright = np.full((6, 4, 6), 8.0, dtype=np.float32)
    bright[:, 0, 0] = 0
    second = explain(made.images, maps=bright, owner=made.owner, method="grad_cam")
    own = opened(f"set={second.pk}&set={made.sets['grad_cam'].pk}")
    assert "?max=" not in own
    common = opened(f"set={second.pk}&set={made.sets['grad_cam'].pk}&set={made.sets['lrp'].pk}&scale=common")
    assert common.count("?max=8.0") == 2
    assert common.count("?max=") == 3


def test_signed_maps_are_drawn_in_red_and_blue_by_themselves(made, opened):
    shown = opened(f"set={made.sets['lrp'].pk}")
    assert "h-key-rdbu" in shown
    assert "against" in shown
    assert "h-key-rdbu" not in opened(f"set={made.sets['grad_cam'].pk}")


def test_files_are_what_is_stored(made, client):
    client.force_login(made.owner)
    row = Explanation.objects.filter(set=made.sets["lrp"]).first()
    raw = client.get(reverse("admin:mlcore_explanationset_file", args=[row.pk, "npy"]))
    assert np.array_equal(np.load(io.BytesIO(raw.content)), load_map(row))
    assert "attachment" in raw["Content-Disposition"]
    assert raw["Content-Disposition"].endswith('_lrp_net.npy"')
    drawn = Pictures.open(
        io.BytesIO(client.get(reverse("admin:mlcore_explanationset_file", args=[row.pk, "png"])).content)
    )
    assert drawn.size == (row.image.width, row.image.height)
    deep = client.get(reverse("admin:mlcore_explanationset_file", args=[row.pk, "png16"]))
    assert Pictures.open(io.BytesIO(deep.content)).mode.startswith("I")
    for bad in (["exe"], ["npz"]):
        assert client.get(reverse("admin:mlcore_explanationset_file", args=[row.pk, *bad])).status_code == 404


def test_a_layer_is_kept_by_the_browser_and_refuses_what_is_not_offered(made, client):
    client.force_login(made.owner)
    row = Explanation.objects.filter(set=made.sets["lrp"]).first()

    def address(style="overlay", colours="cividis", side=96):
        return reverse("admin:mlcore_explanationset_layer", args=[row.pk, style, colours, side])

    first = client.get(address())
    assert first["Content-Type"] == "image/png"
    assert first["Cache-Control"].startswith("private")
    assert client.get(address(), headers={"If-None-Match": first["ETag"]}).status_code == 304
    for bad in (address("neon"), address(colours="jet"), address(side=97), address() + "?max=x", address() + "?max=-1"):
        assert client.get(bad).status_code == 404


def test_a_missing_file_is_said_and_breaks_no_page(made, client, opened):
    Explanation.objects.filter(set=made.sets["lrp"]).update(shard="explanations/gone.npz")
    assert "gone.npz is missing" in opened()
    row = Explanation.objects.filter(set=made.sets["lrp"]).first()
    for name, address in addresses(made).items():
        assert client.get(address).status_code in (200, 404), name
    assert (
        client.get(reverse("admin:mlcore_explanationset_layer", args=[row.pk, "map", "magma", 96])).status_code == 404
    )


def test_queries_do_not_grow_with_the_explanations(django_assert_num_queries, client):
    counts = []
    for number in (50, 500):
        made = make_scored(number=number, methods=("grad_cam", "lrp"))
        client.force_login(made.owner)
        taken = {}
        for name, address in addresses(made).items() | {
            ("set", reverse("admin:mlcore_explanationset_change", args=[made.sets["lrp"].pk]))
        }:
            with CaptureQueriesContext(
                connection,
            ) as queries:
                assert client.get(address).status_code == 200, name
            taken[name] = len(queries)
        counts.append(taken)
        Run.objects.all().delete()
        Score.objects.all().delete()
    assert counts[0] == counts[1]
    assert max(counts[0].values()) <= 20, counts[0]
