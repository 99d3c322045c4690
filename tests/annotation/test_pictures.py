"""What a trial's pictures give away (nothing), who may see them, and which ones load ahead."""

import io
import re

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse
from PIL import Image as Pillow
from PIL import PngImagePlugin

from annotation.api import pictures
from annotation.api.neutral import bare_jpeg, bare_png, padded
from annotation.completion import give_back
from annotation.flow import enter, next_step
from annotation.models import Assignment, Participant, Stimulus
from annotation.people import add_annotator
from annotation.publishing import close, create_study, publish
from annotation.studies.trials import Group
from mlcore.exchange import render
from mlcore.models import Explanation
from tests.browser.world import PASSWORD, make_world, png

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    pictures._rendered.cache_clear()
    return make_world(images=3, classifiers=3)


@pytest.fixture
def client(world):
    return signed_in(world.annotator)


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


def assignment_of(world, study, user=None):
    return next_step(enter(user or world.annotator, study)).assignment


def maps_of(assignment):
    """Addresses of the maps in the order in which the person sees them."""
    names = dict(assignment.trial.stimuli.values_list("slot", "picture"))
    return [reverse("stimulus-picture", args=[names[slot]]) for slot in assignment.order]


def of_two_arms(world):
    study = create_study(
        kind="reasonability", name="arms", owner=None, image_set=world.image_set, images=world.images,
        groups=[Group("one", (world.sets[0],)), Group("two", (world.sets[1],))], conditions="between",
        answers_per_trial=None,
    )  # fmt: skip
    return publish(study, None)


def test_maps_of_a_trial_are_alike_in_everything_but_their_pixels(client, world):
    assignment = assignment_of(world, world.reasonability(maps=3))
    answers = [client.get(address) for address in maps_of(assignment)]
    heads = [{k: v for k, v in answer.headers.items() if k != "Set-Cookie"} for answer in answers]
    assert heads[0] == heads[1] == heads[2]
    assert heads[0]["Cache-Control"] == "private, max-age=3600"
    assert not {"ETag", "Last-Modified", "Content-Disposition"} & set(heads[0])
    assert len({len(answer.content) for answer in answers}) == 1
    shown = [Pillow.open(io.BytesIO(answer.content)) for answer in answers]
    assert {picture.size for picture in shown} == {(640, 465)}
    assert {picture.mode for picture in shown} == {"L"}
    # Classifiers 0 and 2 look at the object, 1 at the corner: the order is this person's own.
    values = [np.asarray(shown[assignment.order.index(slot)], dtype=float) for slot in range(3)]
    assert np.abs(values[0] - values[2]).mean() < 1
    assert np.abs(values[0] - values[1]).mean() > 5
    assert all(value.max() == 255 for value in values), "each on its own scale"


def test_addresses_are_random_names_and_stand_on_the_page_in_the_persons_order(client, world):
    assignment = assignment_of(world, world.reasonability(maps=3))
    page = client.get(reverse("trial", args=[assignment.uuid])).content.decode()
    found = re.findall(r'"(/pictures/[0-9a-f]{32}/)"', page)
    assert found == maps_of(assignment)
    assert "/pictures/of/" in page
    for told in ("secret-model", "slot", "condition", "grad_cam"):
        assert told not in re.sub(r"<script[^>]*src=[^>]*>|<link[^>]*>", "", page)


def test_the_maps_of_a_trial_are_made_once(client, world, monkeypatch):
    made = []
    real = render.map_png
    monkeypatch.setattr(render, "map_png", lambda row, **options: made.append(row.uuid) or real(row, **options))
    assignment = assignment_of(world, world.reasonability(maps=3))
    for _ in range(2):
        assert [client.get(address).status_code for address in maps_of(assignment)] == [200] * 3
    assert len(made) == 3


def test_a_map_that_cannot_be_read_is_not_there_and_stands_in_the_log(client, world, caplog):
    assignment = assignment_of(world, world.reasonability())
    default_storage.delete(Explanation.objects.filter(set=world.sets[0]).first().shard)
    (address,) = maps_of(assignment)
    assert client.get(address).status_code == 404
    assert "cannot be shown" in caplog.text
    assert str(assignment.trial.uuid) in caplog.text


def test_neighbours_are_no_picture_of_their_own(client, world):
    assignment = assignment_of(world, world.reasonability())
    Explanation.objects.filter(set=world.sets[0]).update(payload="neighbours", shard="")
    assert client.get(maps_of(assignment)[0]).status_code == 404
    page = client.get(reverse("trial", args=[assignment.uuid])).content.decode()
    assert re.search(r'"maps": \[null\]', page)


def test_pictures_are_for_the_studys_people_only(client, world):
    assignment = assignment_of(world, world.reasonability())
    addresses = [reverse("trial-picture", args=[assignment.trial.uuid]), *maps_of(assignment)]
    stranger = signed_in(add_annotator("bea", PASSWORD))
    for address in addresses:
        assert client.get(address).status_code == 200
        assert stranger.get(address).status_code == 404
        assert Client().get(address).status_code == 302
    assert client.get(reverse("stimulus-picture", args=["0" * 32])).status_code == 404
    assert client.get(reverse("trial-picture", args=["3f0c7a8e-0000-4000-8000-000000000000"])).status_code == 404


def test_a_person_sees_pictures_of_their_own_condition_only(world):
    study = of_two_arms(world)
    people = [add_annotator(f"p{number}", PASSWORD) for number in range(2)]
    held = [assignment_of(world, study, user) for user in people]
    assert {assignment.participant.arm_id for assignment in held} == set(study.arms.values_list("pk", flat=True))
    for user, assignment in zip(people, held, strict=True):
        browser = signed_in(user)
        for stimulus in Stimulus.objects.filter(trial__study=study).select_related("trial"):
            mine = stimulus.trial.arm_id == assignment.participant.arm_id
            address = reverse("stimulus-picture", args=[stimulus.picture])
            assert browser.get(address).status_code == (200 if mine else 404)


def test_after_the_end_only_what_one_has_seen_is_left(client, world):
    study = world.reasonability()
    assignment = assignment_of(world, study)
    later = study.trials.exclude(pk=assignment.trial_id).first()
    ahead = reverse("trial-picture", args=[later.uuid])
    seen = reverse("trial-picture", args=[assignment.trial.uuid])
    assert client.get(ahead).status_code == 200, "it may load ahead"
    close(study, None)
    assert client.get(ahead).status_code == 404
    assert client.get(seen).status_code == 200
    give_back(Participant.objects.get())
    assert client.get(seen).status_code == 404, "who gave the place back sees no more"


def test_the_next_two_trials_load_ahead_without_being_claimed(client, world):
    study = world.reasonability(maps=3)
    assignment = assignment_of(world, study)
    address = reverse("api-ahead", args=[assignment.uuid])
    answer = client.get(address)
    found = answer.json()["pictures"]
    others = study.trials.exclude(pk=assignment.trial_id)
    assert {reverse("trial-picture", args=[trial.uuid]) for trial in others} <= set(found)
    assert len(found) == 2 * (1 + 3)
    for start in (1, 5):
        names = found[start : start + 3]
        assert names == sorted(names), "in the order of their random names, which says nothing"
    assert all(client.get(picture).status_code == 200 for picture in found)
    assert Assignment.objects.count() == 1
    assert "no-store" in answer["Cache-Control"]
    following = next_step(assignment.participant)
    assert following.assignment == assignment
    assert signed_in(add_annotator("bea", PASSWORD)).get(address).status_code == 404
    assert Client().get(address).status_code == 404


def test_nothing_loads_ahead_of_the_last_trial(client, world):
    assignment = assignment_of(world, world.reasonability(images=1))
    assert client.get(reverse("api-ahead", args=[assignment.uuid])).json() == {"pictures": []}


def test_a_picture_takes_few_queries(client, world, django_assert_max_num_queries):
    assignment = assignment_of(world, world.reasonability(maps=3))
    for address in (
        *maps_of(assignment),
        reverse("trial-picture", args=[assignment.trial.uuid]),
        reverse("trial-thumbnail", args=[assignment.uuid]),
        reverse("api-ahead", args=[assignment.uuid]),
    ):
        with django_assert_max_num_queries(12):
            assert client.get(address).status_code == 200


def test_padding_changes_length_and_nothing_else():
    small, large = (
        png(np.zeros((4, 4), np.uint8)),
        png(np.random.default_rng(0).integers(0, 255, (70, 70)).astype("u1")),
    )
    filled = padded([small, large])
    assert len(filled[0]) == len(filled[1])
    assert len(filled[0]) % 4096 == 0
    for before, after in zip((small, large), filled, strict=True):
        picture = Pillow.open(io.BytesIO(after))
        picture.verify()
        assert (np.asarray(Pillow.open(io.BytesIO(after))) == np.asarray(Pillow.open(io.BytesIO(before)))).all()


def test_metadata_stay_on_the_server_and_pixels_do_not_change():
    picture = Pillow.fromarray(np.random.default_rng(1).integers(0, 255, (20, 30, 3)).astype("u1"))
    exif = Pillow.Exif()
    exif[0x010E] = "secret description"
    stream = io.BytesIO()
    picture.save(stream, "JPEG", exif=exif, comment=b"secret comment")
    bare = bare_jpeg(stream.getvalue())
    assert b"secret" in stream.getvalue()
    assert b"secret" not in bare
    assert (np.asarray(Pillow.open(io.BytesIO(bare))) == np.asarray(Pillow.open(stream))).all()
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "secret title")
    stream = io.BytesIO()
    picture.save(stream, "PNG", pnginfo=text, exif=exif)
    bare = bare_png(stream.getvalue())
    assert b"secret" not in bare
    assert (np.asarray(Pillow.open(io.BytesIO(bare))) == np.asarray(picture)).all()


def test_a_picture_turned_by_its_camera_arrives_upright(client, world):
    assignment = assignment_of(world, world.map_drawing())
    values = np.zeros((40, 20, 3), np.uint8)
    values[:10] = 255  # the top in the file
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    stream = io.BytesIO()
    Pillow.fromarray(values).save(stream, "JPEG", exif=exif, quality=95)
    image = assignment.trial.image
    image.file.save("turned.jpg", ContentFile(stream.getvalue()))
    answer = client.get(reverse("trial-picture", args=[assignment.trial.uuid]))
    picture = Pillow.open(io.BytesIO(answer.content))
    assert picture.size == (40, 20)
    assert not picture.getexif()
    assert np.asarray(picture.convert("L"))[10, 35] > 200
    assert np.asarray(picture.convert("L"))[10, 5] < 50
