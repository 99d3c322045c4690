"""Ways in, home, pages that are not there, a preview and the switch, in German."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone, translation
from django.views.defaults import bad_request, permission_denied, server_error

from annotation.invitations import invite, return_token, revoke, token
from annotation.models import Participant, Study
from annotation.people import add_researcher
from annotation.publishing import close, publish
from tests.annotation import factories as make
from tests.annotation.phased import Walker
from tests.harmony.german import foreign
from tests.harmony.german_walk import GERMAN, Guide, phased, text_of, visitor

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough password"


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


# --- ways in, home, and pages that are not there ----------------------------------------------------------------------


def test_home_and_the_sign_in_page() -> None:
    user = make.annotator()
    user.set_password(PASSWORD)
    user.save()
    client = visitor()
    assert foreign(text_of(client.get("/login/"))) == []
    wrong = text_of(client.post("/login/", {"username": "§wer", "password": "x"}))
    assert "passen nicht zusammen" in wrong
    assert foreign(wrong) == []
    client.post("/login/", {"username": user.username, "password": PASSWORD})
    assert foreign(text_of(client.get("/")), user.username) == []
    make.ratings(2, title="§Titel")
    make.drawings(400, images=make.images(3), title="§Titel")
    page = text_of(client.get("/"))
    assert page.count("Beginnen") == 2
    assert foreign(page, user.username) == []
    staff = add_researcher(make.UserFactory().username)
    assert foreign(text_of(visitor(staff).get("/")), staff.username) == []


def opened(**people: Any) -> Study:
    return phased(plan={"people": {"accounts": False, "time_limit_minutes": 30} | people})


def test_links_into_a_study() -> None:
    study = opened(open_link=True, prolific=True)
    door = reverse("join-open", args=[study.join_key])
    client = visitor()
    pages = [client.get(door), client.post(door, {"nickname": " "}), client.post(door, {"nickname": "§" * 41})]
    guide = Guide(make.annotator(), study)
    guide.client = client
    guide.send(door, nickname="§Kim")
    guide.open("/")
    guide.open(reverse("study-stop", args=[study.uuid]))
    person = Participant.objects.get(nickname="§Kim")
    back = reverse("come-back", args=[return_token(person)])
    named = visitor(make.annotator())
    pages += [
        visitor().get(back),
        named.get(back),
        visitor().get(back.rstrip("/") + "x/"),
        named.get(f"/studies/{study.uuid}/"),
    ]
    place = reverse("join-prolific", args=[study.join_key])
    pages += [
        visitor().get(place), visitor().get(place, {"PROLIFIC_PID": "no such id!"}),
        visitor().get(place, {"PROLIFIC_PID": "abc123"}), named.get(place, {"PROLIFIC_PID": "abc123"}),
    ]  # fmt: skip
    used, taken, late, new = invite(study, None, ["", "", "", ""])
    late.expires = timezone.now() - timedelta(days=1)
    late.save()
    revoke(taken, None)
    address = {item: reverse("join-invitation", args=[token(item)]) for item in (used, taken, late, new)}
    inside = visitor(make.annotator())
    inside.post(address[used], {"nickname": "§Lea"})
    pages += [visitor().get(address[item]) for item in (used, taken, late, new)]
    pages += [visitor(make.annotator()).post(address[used])]
    shut = opened(accounts=True)
    pages.append(visitor().get(reverse("join-open", args=[shut.join_key])))
    pages.append(visitor().get(reverse("join-prolific", args=[shut.join_key]), {"PROLIFIC_PID": "abc123"}))
    close(study, None)
    pages += [visitor().get(door), visitor().get(address[new])]
    people = [user for user in Participant.objects.values_list("user__username", flat=True) if user]
    for page in pages:
        assert foreign(text_of(page), *people) == [], page.request


def test_pages_that_are_not_there() -> None:
    user = make.annotator()
    missing = visitor(user).get("/nowhere/")
    forged = Client(headers=GERMAN, enforce_csrf_checks=True).post("/login/", {"username": "x", "password": "y"})
    assert (missing.status_code, forged.status_code) == (404, 403)
    pages = [missing.content, forged.content]
    request = RequestFactory().get("/")
    with translation.override("de"):
        pages += [bad_request(request, Exception()).content, permission_denied(request, Exception()).content]
        pages += [server_error(request).content]
    for page in pages:
        assert foreign(page.decode()) == []


def test_an_error_of_ours_and_too_many_attempts_are_told_in_german(settings: Any, monkeypatch: Any) -> None:
    client = visitor(make.annotator())
    client.raise_request_exception = False
    monkeypatch.setattr("annotation.pages.home.flow.studies_for", lambda user: 1 // 0)
    broken = client.get("/")
    assert broken.status_code == 500
    assert foreign(broken.content.decode()) == []
    settings.AXES_ENABLED, settings.AXES_FAILURE_LIMIT = True, 1
    rests = visitor().post("/login/", {"username": "§wer", "password": "x"})
    assert rests.status_code == 429
    assert foreign(rests.content.decode()) == []


def test_a_preview() -> None:
    owner = make.researcher()
    study = make.ratings(1, owner=owner, title="§Titel", live=False)
    guide = Guide(owner, study)
    guide.open(reverse("study-preview", args=[study.uuid]))
    assert "Vorschau: Nichts hiervon zählt" in guide.page
    publish(study, owner)
    close(study, owner)
    guide.open(reverse("study-preview", args=[study.uuid]))
    assert "Es gibt nichts anzusehen" in guide.page


# --- the switch -------------------------------------------------------------------------------------------------------


def test_the_switch_needs_no_script_and_is_remembered_for_a_year_by_guests_too() -> None:
    study = opened(open_link=True)
    door = reverse("join-open", args=[study.join_key])
    client = Client(headers={"accept-language": "en"})
    assert '<html lang="en">' in text_of(client.get(door))
    switched = client.post("/i18n/setlang/", {"language": "de", "next": door}, follow=True)
    assert switched.request["PATH_INFO"] == door
    assert foreign(text_of(switched)) == []
    cookie = client.cookies["django_language"]
    assert (cookie.value, int(cookie["max-age"]), cookie["samesite"]) == ("de", 365 * 24 * 60 * 60, "Lax")
    consent = client.post(door, {"nickname": "§Kim"}, follow=True)
    assert consent.request["PATH_INFO"].endswith("/consent/")
    assert foreign(text_of(consent)) == []
    client.cookies.pop("sessionid")
    assert foreign(text_of(client.get(door))) == [], "without the session too"


def test_a_studys_own_german_stands_where_it_was_written() -> None:
    said = {
        "title": "§DerTitel", "task": "§DieAufgabe", "consent": "§DieZustimmung",
        "introduction": [{"title": "§Seite", "text": "§Inhalt"}], "exit": [{"question": "§Lebensjahre"}],
        "completion_text": "§Danke", "settings": {"question_quality": "§Güte"},
    }  # fmt: skip
    study = phased(translations={"de": said}, settings={"question_quality": "How clear is it?"})
    german, english = Guide(make.annotator(), study), Walker(Client(headers={"accept-language": "en"}), study)
    english.client.force_login(make.annotator())
    german.open()
    english.open()
    assert "§DieZustimmung" in german.page
    assert "§DieZustimmung" not in english.page
    german.send(consent="yes")
    assert "§Inhalt" in german.page
    german.send()
    assert "§Güte" in german.page
    assert "How clear is it?" not in german.page
