"""What holds on every page around the trials: languages, the way back, previews, queries, forged forms."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from annotation.models import ExitAnswers, Participant
from annotation.navigation import return_address
from annotation.people import add_researcher
from annotation.publishing import close
from tests.annotation.phased import EXIT, PAGES, person, phased_study, walker
from tests.browser.world import PASSWORD, make_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return make_world(images=3, classifiers=1)


@pytest.fixture
def study(world):
    return phased_study(world)


@pytest.fixture
def ada(world, study):
    return walker(world.annotator, study)


def test_a_study_closed_on_the_way_says_so_on_every_page(ada, study):
    ada.to("main")
    here = ada.at
    close(study, None)
    for address in [here, *(reverse(name, args=[study.uuid]) for name in PAGES)]:
        assert ada.open(address).endswith("/end/")
        assert "This study is closed" in ada.page
    assert "DONE-1" not in ada.page


def test_texts_are_in_the_readers_language(world):
    study = phased_study(
        world,
        translations={
            "de": {
                "title": "Wohin schaut es?",
                "consent": "Wir zeigen Bilder.",
                "introduction": [{"title": "Was Sie sehen"}],
                "exit": [{"question": "Wie alt sind Sie?"}, {}, {"choices": ["ein Telefon", "ein Bildschirm"]}],
                "settings": {"question_quality": "Wie gut ist es?"},
            }
        },
    )
    ada = walker(world.annotator, study)
    ada.client.cookies["django_language"] = "de"
    ada.open()
    assert "Wohin schaut es?" in ada.page
    assert "Wir zeigen Bilder." in ada.page
    assert '<html lang="de">' in ada.page
    ada.send(consent="yes")
    assert "Was Sie sehen" in ada.page
    assert "what a model looked at" in ada.page, "what was not translated stays"
    ada.to("main")
    assert "Wie gut ist es?" in ada.page
    ada.to("questions")
    assert "Wie alt sind Sie?" in ada.page
    assert 'value="a telephone"' in ada.page
    assert "ein Telefon" in ada.page
    ada.send(age="31", how="5", device="a screen")
    assert ExitAnswers.objects.get().values["device"] == "a screen"


@pytest.mark.parametrize(
    ("address", "code", "expected"),
    [
        ("https://app.prolific.com/submissions/complete?cc=OLD", "NEW", "https://app.prolific.com/submissions/complete?cc=NEW"),
        ("https://x.org/done?a=1&b=", "C-1", "https://x.org/done?a=1&b=&cc=C-1"),
        ("https://x.org/done/{code}/thanks", "C_1", "https://x.org/done/C_1/thanks"),
        ("https://x.org/done", "", "https://x.org/done"),
        ("", "C-1", ""),
    ],
)  # fmt: skip
def test_the_way_back_carries_the_code(world, address, code, expected):
    study = phased_study(world, plan={"completion": {"return_url": address}})
    part = Participant(study=study, outcome="completed", completion_code=code)
    assert return_address(part) == expected
    part.outcome = ""
    assert return_address(part) == "", "nobody is sent back before the end"


def test_a_preview_is_the_same_pages_and_leaves_nothing(world):
    boss = add_researcher("boss", PASSWORD)
    study = phased_study(world, live=False, owner=boss, answers_per_trial=1)
    look = walker(boss, study)
    start = reverse("study-preview", args=[study.uuid])
    assert look.open(start).endswith("/consent/")
    assert "Preview: nothing here counts" in look.page
    look.to("main")
    assert "Preview: nothing here counts" in look.page
    assert look.data["preview"] is True
    assert look.client.get(look.data["urls"]["picture"]).status_code == 200
    assert look.client.get(look.data["urls"]["maps"][0]).status_code == 200
    look.answer()
    look.to("end")
    assert "Preview: nothing here counts" in look.page
    assert set(study.trials.filter(phase="main").values_list("claims_left", flat=True)) == {1}
    look.open(start)
    assert look.place == "consent", "a second look begins anew"
    look.client.post(start)
    assert not Participant.objects.exists()
    look.open()
    assert "This study is not open to you" in look.page, "a draft is open to nobody"


def test_only_who_manages_a_study_previews_it(world):
    study = phased_study(world, live=False, owner=add_researcher("boss", PASSWORD))
    start = reverse("study-preview", args=[study.uuid])
    for user in (world.annotator, add_researcher("rival", PASSWORD)):
        client = Client()
        client.force_login(user)
        assert client.get(start).status_code == 404
        assert client.post(start).status_code == 404
    assert Client().get(start).status_code == 302
    assert not Participant.objects.exists()


def test_a_preview_of_a_live_study_is_not_the_researchers_own_part(world):
    boss = add_researcher("boss", PASSWORD)
    study = phased_study(world, owner=boss)
    look = walker(boss, study).to("practice")
    own = look.at
    look.open(reverse("study-preview", args=[study.uuid]))
    assert look.place == "consent"
    look.client.post(reverse("study-preview", args=[study.uuid]))
    assert look.open() == own
    assert "Preview" not in look.page


@pytest.mark.parametrize("place", ["consent", "introduction", "again", "questions", "main", "end"])
def test_a_page_takes_at_most_12_queries_holds_no_inline_code_and_is_never_kept(
    ada, place, django_assert_max_num_queries
):
    if place == "again":
        ada.to("qualification")
        ada.answer(right=False)
        ada.answer(right=False)
    else:
        ada.to(place)
    with django_assert_max_num_queries(12):
        answer = ada.client.get(ada.at)
    page = answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert not re.search(r"\son\w+=|\sstyle=|javascript:", page)
    assert not re.search(r"<script(?![^>]*(src=|application/json))", page)
    assert "secret-model" not in page


def test_a_form_without_the_pages_token_is_refused(ada, study):
    ada.to("consent")
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = ada.client.cookies
    assert strict.post(ada.at, {"consent": "no"}).status_code == 403
    assert strict.post(reverse("study-stop", args=[study.uuid])).status_code == 403
    assert person(study).outcome == ""


def test_the_names_of_exit_questions_are_the_names_of_the_fields(ada):
    ada.to("questions")
    names = set(re.findall(r'<(?:input|textarea)[^>]*\sname="([a-z_]+)"', ada.page))
    assert {question["name"] for question in EXIT} <= names
