"""The annotators' pages through Django's client: who sees what, how many queries, no inline code."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from annotation.answers import submit
from annotation.api.words import time_left
from annotation.flow import enter, next_step
from annotation.people import add_annotator
from annotation.publishing import close, create_study
from tests.browser.world import PASSWORD, make_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return make_world(images=3, classifiers=2)


@pytest.fixture
def client(world):
    client = Client()
    client.force_login(world.annotator)
    return client


def answer_one(world, study, number):
    assignment = next_step(enter(world.annotator, study)).assignment
    maps = [
        {"position": n, "necessary": True, "unnecessary": False, "quality": 4} for n in range(len(assignment.order))
    ]
    submit(
        assignment=assignment,
        submission=f"00000000-0000-4000-8000-{number:012d}",
        payload={"maps": maps},
        duration_ms=60_000,
    )
    return assignment


def test_home_shows_own_progress_and_time(client, world):
    study = world.reasonability(title="Where does it look?")
    page = client.get("/").content.decode()
    assert "Where does it look?" in page
    assert "0 of 3" in page
    assert "Start" in page
    answer_one(world, study, 1)
    page = client.get("/").content.decode()
    assert "1 of 3" in page
    assert "about 2 minutes left" in page
    assert "Continue" in page


def test_entering_a_study_goes_to_the_same_trial_until_it_is_answered(client, world):
    address = reverse("study", args=[world.reasonability().uuid])
    first = client.get(address)
    assert first.status_code == 302
    assert client.get(address)["Location"] == first["Location"]
    assert client.get(first["Location"]).status_code == 200


def test_ends(client, world):
    study = world.reasonability()
    address = reverse("study", args=[study.uuid])
    for number in range(3):
        answer_one(world, study, number)
    assert b"That was the last one" in client.get(address, follow=True).content
    close(study, None)
    assert b"This study is closed" in client.get(address, follow=True).content
    stranger = Client()
    stranger.force_login(add_annotator("bea", PASSWORD))
    assert b"This study is not open to you" in stranger.get(address).content
    assert stranger.get(reverse("study-review", args=[study.uuid])).status_code == 404


def test_nothing_left_while_another_holds_the_last_ones(client, world):
    study = world.reasonability(images=1, answers_per_trial=1)
    next_step(enter(add_annotator("bea", PASSWORD), study))
    assert b"Nothing is left for you just now" in client.get(reverse("study", args=[study.uuid]), follow=True).content


def test_a_draft_study_is_not_open(client, world):
    study = create_study(kind="map_drawing", name="not yet", owner=None, image_set=world.image_set, images=world.images)
    assert b"not yet" not in client.get("/").content
    assert b"This study is not open to you" in client.get(reverse("study", args=[study.uuid])).content


def test_pages_ask_for_a_login_and_come_back(world):
    address = reverse("study", args=[world.reasonability().uuid])
    answer = Client().get(address)
    assert answer["Location"] == f"{reverse('login')}?next={address}"


def test_signing_out_is_a_post(client):
    assert client.get(reverse("logout")).status_code == 405
    assert client.post(reverse("logout"))["Location"] == reverse("login")


def test_the_list_of_own_answers_says_what_was_answered(client, world):
    study = world.reasonability(maps=2)
    answer_one(world, study, 1)
    page = client.get(reverse("study-review", args=[study.uuid])).content.decode()
    assert page.count("yes · no · 4") == 2
    close(study, None)
    page = client.get(reverse("study-review", args=[study.uuid])).content.decode()
    assert "/trials/" not in re.sub(r'src="[^"]*"', "", page), "nothing leads to a change any more"


PAGES = ["home", "study-review", "trial", "drawing", "login", "nowhere"]


@pytest.mark.parametrize("name", PAGES)
def test_no_page_holds_inline_code_or_another_host(client, world, name):
    rating, drawing = world.reasonability(), world.map_drawing()
    done = answer_one(world, rating, 1)
    address = {
        "home": "/",
        "study-review": reverse("study-review", args=[rating.uuid]),
        "trial": reverse("trial", args=[done.uuid]),
        "drawing": client.get(reverse("study", args=[drawing.uuid]))["Location"],
        "login": reverse("login"),
        "nowhere": "/nowhere/",
    }[name]
    if name == "login":
        client.logout()
    answer = client.get(address)
    page = answer.content.decode()
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert not re.search(r"\son\w+=|\sstyle=|javascript:", page)
    assert not re.search(r"<script(?![^>]*(src=|application/json))", page)
    assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', page)
    assert "secret-model" not in page
    assert "grad_cam" not in page


@pytest.mark.parametrize(("maps", "name"), [(1, "trial"), (2, "trial"), (1, "home"), (1, "study-review")])
def test_a_page_takes_at_most_12_queries(client, world, django_assert_max_num_queries, maps, name):
    study = world.reasonability(maps=maps)
    for number in range(2):
        answer_one(world, study, number)
    address = {
        "home": "/",
        "study-review": reverse("study-review", args=[study.uuid]),
        "trial": client.get(reverse("study", args=[study.uuid]))["Location"],
    }[name]
    with django_assert_max_num_queries(12):
        assert client.get(address).status_code == 200


def test_kind_pages_for_what_is_not_there(client):
    missing = client.get("/nowhere/")
    assert missing.status_code == 404
    assert b"There is nothing here" in missing.content
    strict = Client(enforce_csrf_checks=True)
    refused = strict.post(reverse("login"), {"username": "ada", "password": PASSWORD})
    assert refused.status_code == 403
    assert b"Please load the page again" in refused.content


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (0, ""),
        (-3, ""),
        (20, "about a minute left"),
        (720, "about 12 minutes left"),
        (7300, "about 2 hours left"),
    ],
)
def test_durations_are_words(seconds, said):
    assert time_left(seconds) == said
