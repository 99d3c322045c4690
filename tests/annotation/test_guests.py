"""Guests: how they come back, what they see, and what no log holds of them."""

import logging
import re

import pytest
from django.test import Client
from django.urls import reverse

from annotation.flow import next_step
from annotation.invitations import invite, return_token, token
from annotation.models import Participant
from annotation.people import add_annotator, add_researcher
from annotation.redaction import WithoutTokens
from tests.annotation.doors import PID, guest_of, opened, prolific, signed_in
from tests.annotation.phased import Walker, phased_study
from tests.browser.world import PASSWORD, make_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return make_world(images=2, classifiers=1)


# --- coming back -----------------------------------------------------------------------------------------------------


def test_a_guests_own_link_leads_back_from_any_browser(world):
    study = opened(world, open_link=True)
    client = Client()
    walker = Walker(client, study)
    walker.send(reverse("join-open", args=[study.join_key]), nickname="Kim")
    here = walker.at
    assert "/back/" in walker.data["urls"]["login"], "a guest has no password to sign in with"
    link = re.search(r'value="http://testserver(/back/[^"]+)"', client.get("/").content.decode())[1]
    other = Walker(Client(), study)
    other.open(link)
    assert "Good to see you again, Kim." in other.page
    assert "_auth_user_id" not in other.client.session, "looking signs nobody in"
    assert other.send(link) == here
    assert other.open(link) == here


def test_a_link_back_is_for_guests_and_must_be_whole(world):
    study = phased_study(world)
    walker = Walker(signed_in(world.annotator), study)
    walker.open()
    account = guest_of(study)
    for signed in (return_token(account), f"{account.uuid.hex}~x", "nonsense"):
        stranger = Client()
        answer = stranger.post(reverse("come-back", args=[signed]), follow=True)
        assert "_auth_user_id" not in stranger.session
        assert "/studies/" not in answer.request["PATH_INFO"]


# --- what a guest sees -----------------------------------------------------------------------------------------------


def test_a_guest_sees_no_other_study_and_nobody_elses_pictures(world):
    study = opened(world, open_link=True)
    other = phased_study(world)
    bea = add_annotator("bea", PASSWORD)
    hers = Walker(signed_in(bea), other).to("practice")
    client = Client()
    client.post(reverse("join-open", args=[study.join_key]), {"nickname": "Kim"})
    assert client.get("/").content.count(b'<article class="card study') == 1
    refused = client.get(reverse("study", args=[other.uuid]))
    assert "This study is not open to you" in refused.content.decode()
    for address in (hers.at, hers.data["urls"]["picture"], hers.data["urls"]["maps"][0], hers.data["urls"]["ahead"]):
        assert client.get(address).status_code == 404
    assert client.get(reverse("admin:index")).status_code == 302
    assert Participant.objects.filter(study=other).count() == 1


def test_the_home_page_shows_studies_for_accounts_and_the_own_ones(world):
    hidden = opened(world, open_link=True)
    for_all = phased_study(world)
    client = signed_in(world.annotator)
    page = client.get("/").content.decode()
    assert str(for_all.uuid) in page
    assert str(hidden.uuid) not in page
    client.post(reverse("join-open", args=[hidden.join_key]))
    assert str(hidden.uuid) in client.get("/").content.decode()
    refused = signed_in(add_annotator("bea", PASSWORD)).get(reverse("study", args=[hidden.uuid]))
    assert "open to invited people only" in refused.content.decode()


def test_ways_in_refuse_forged_forms_and_take_few_queries(world, django_assert_max_num_queries):
    study = opened(world, open_link=True, prolific=True)
    (invitation,) = invite(study, None, [""])
    door, sent = prolific(study)
    doors = [
        (reverse("join-open", args=[study.join_key]), {}),
        (reverse("join-invitation", args=[token(invitation)]), {}),
        (door, sent),
    ]
    for address, data in doors:
        with django_assert_max_num_queries(12):
            answer = Client().get(address, data)
        assert answer.status_code == 200
        assert "no-store" in answer["Cache-Control"]
        assert Client(enforce_csrf_checks=True).post(address, data).status_code == 403
    assert not Participant.objects.exists()


# --- logs ------------------------------------------------------------------------------------------------------------


def test_no_token_and_no_recruiting_id_gets_into_a_log(world, caplog):
    study = opened(world, prolific=True)
    (invitation,) = invite(study, None, [""])
    secret = token(invitation)
    caplog.set_level(logging.DEBUG)
    Client(enforce_csrf_checks=True).post(reverse("join-invitation", args=[secret]))
    Client().put(reverse("join-invitation", args=[secret]))
    Client().get(reverse("join-invitation", args=[secret]) + "more/")
    Client(enforce_csrf_checks=True).post(reverse("come-back", args=[secret]))
    assert "/join/…" in caplog.text, "the refusals are in the log"
    assert secret not in caplog.text
    line = logging.LogRecord(
        "django.server", logging.INFO, "", 0, '"%s" %s',
        (f"GET /prolific/key/?PROLIFIC_PID={PID}&STUDY_ID=S1&SESSION_ID=T1 HTTP/1.1", "200"), None,
    )  # fmt: skip
    assert WithoutTokens().filter(line)
    assert line.getMessage() == '"GET /prolific/key/?PROLIFIC_PID=…&STUDY_ID=S1&SESSION_ID=… HTTP/1.1" 200'


def test_a_researchers_own_account_is_never_a_guest(world):
    boss = add_researcher("boss", PASSWORD)
    study = opened(world, open_link=True)
    client = signed_in(boss)
    client.post(reverse("join-open", args=[study.join_key]))
    assert b"/back/" not in client.get("/").content
    assert next_step(guest_of(study)).kind == "trial"


def test_a_guest_of_an_open_link_is_not_told_to_go_back_to_a_recruiting_site(world):
    study = opened(world, open_link=True, nickname=False)
    client = Client()
    door = reverse("join-open", args=[study.join_key])
    client.post(door, {"visit": "0" * 32})
    guest = guest_of(study)
    assert guest.external_id
    assert not guest.is_recruited
    page = client.get(reverse("study-stop", args=[study.uuid])).content.decode()
    assert "Prolific" not in page
    assert "submission" not in page
