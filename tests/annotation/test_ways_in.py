"""Links into a study: invitations, open links, Prolific."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotation.invitations import invite, revoke, token
from annotation.models import Invitation, Participant
from annotation.people import add_annotator, is_guest
from annotation.publishing import close
from tests.annotation.doors import PID, guest_of, opened, participation_of, prolific, signed_in
from tests.annotation.phased import Walker, phased_study
from tests.browser.world import PASSWORD, make_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return make_world(images=2, classifiers=1)


# --- open links ------------------------------------------------------------------------------------------------------


def test_a_begin_that_is_sent_again_is_one_person(world):
    """The line was cut after the press: the browser has no login yet and sends the same form once more."""
    study = opened(world, open_link=True, nickname=False)
    door = reverse("join-open", args=[study.join_key])
    client = Client()
    visit = re.search(r'name="visit" value="([0-9a-f]{32})"', client.get(door).content.decode())[1]
    assert Client().post(door, {"visit": visit}).status_code == 302  # heard by nobody
    client.post(door, {"visit": visit})
    assert Participant.objects.count() == 1
    assert participation_of(client, study)
    for odd in ("", "visit", visit + "0", visit.upper()):
        Client().post(door, {"visit": odd})
    assert Participant.objects.count() == 5, "what is no visit of ours is a person of its own"


def test_an_open_link_asks_for_a_name_and_begins_by_a_press(world):
    study = opened(world, open_link=True)
    client, door = Client(), reverse("join-open", args=[study.join_key])
    page = client.get(door).content.decode()
    assert "Where does it look?" in page
    assert 'name="nickname"' in page
    assert not Participant.objects.exists(), "looking makes nobody a participant"
    walker = Walker(client, study)
    walker.send(door, nickname="  Kim   Lee ")
    assert walker.place == "trial"
    guest = guest_of(study)
    assert guest.nickname == "Kim Lee"
    assert is_guest(guest.user)
    assert not guest.user.groups.exists()
    home = unescape(client.get("/").content.decode())
    assert "Kim Lee" in home
    assert guest.user.username not in home
    walker.open(door)
    assert walker.place == "trial", "the same browser goes on"
    walker.send(door, nickname="Other")
    assert Participant.objects.count() == 1


@pytest.mark.parametrize(("name", "said"), [("", "Write a name"), ("   ", "Write a name"), ("x" * 41, "At most 40")])
def test_a_name_of_1_to_40_characters(world, name, said):
    study = opened(world, open_link=True)
    answer = Client().post(reverse("join-open", args=[study.join_key]), {"nickname": name})
    assert said in answer.content.decode()
    assert not Participant.objects.exists()


def test_no_name_is_asked_where_the_study_wants_none(world):
    study = opened(world, open_link=True, nickname=False)
    client, door = Client(), reverse("join-open", args=[study.join_key])
    assert b"nickname" not in client.get(door).content
    client.post(door, {"nickname": "x" * 90})
    assert guest_of(study).nickname == ""


def test_an_account_takes_part_as_itself_and_is_asked_for_no_name(world):
    study = opened(world, open_link=True)
    client, door = signed_in(world.annotator), reverse("join-open", args=[study.join_key])
    assert b"nickname" not in client.get(door).content
    assert client.post(door)["Location"] == reverse("study", args=[study.uuid])
    assert guest_of(study).user == world.annotator


def test_a_guest_of_one_study_enters_another_as_the_same_visitor(world):
    first, second = opened(world, open_link=True), opened(world, open_link=True)
    client = Client()
    client.post(reverse("join-open", args=[first.join_key]), {"nickname": "Kim"})
    client.post(reverse("join-open", args=[second.join_key]), {"nickname": "Kim"})
    assert guest_of(first).user == guest_of(second).user
    assert client.get("/").content.count(b'<article class="card study') == 2


def test_a_link_that_is_not_in_use_unknown_or_too_late_says_so(world):
    off, early = opened(world), phased_study(world, live=False, plan={"people": {"open_link": True}})
    late = opened(world, open_link=True)
    close(late, None)
    for study, said in ((off, "This link is not in use"), (early, "has not begun"), (late, "is closed")):
        door = reverse("join-open", args=[study.join_key])
        for answer in (Client().get(door), Client().post(door, {"nickname": "Kim"})):
            assert said in answer.content.decode()
    assert Client().get(reverse("join-open", args=["nothing"])).status_code == 404
    assert not Participant.objects.exists()


# --- invitations -----------------------------------------------------------------------------------------------------


def test_an_invitation_is_for_one_person_and_leads_back_to_them(world):
    study = opened(world, nickname=False)
    (invitation,) = invite(study, None, ["the first"])
    door = reverse("join-invitation", args=[token(invitation)])
    walker = Walker(Client(), study)
    walker.open(door)
    assert "Begin" in walker.page
    assert not Participant.objects.exists()
    walker.send(door)
    here = walker.at
    assert walker.place == "trial"
    elsewhere = Walker(Client(), study)
    elsewhere.open(door)
    assert "Go on" in elsewhere.page
    assert elsewhere.send(door) == here
    assert Participant.objects.count() == 1


def test_an_invitation_that_an_account_used_lets_nobody_into_that_account(world):
    study = opened(world)
    (invitation,) = invite(study, None, [""])
    door = reverse("join-invitation", args=[token(invitation)])
    signed_in(world.annotator).post(door)
    assert guest_of(study).user == world.annotator
    stranger = Client()
    answer = stranger.post(door)
    assert answer["Location"].startswith(reverse("login"))
    assert "_auth_user_id" not in stranger.session
    other = signed_in(add_annotator("bea", PASSWORD)).post(door)
    assert "Someone else has used this invitation" in other.content.decode()


def test_a_second_invitation_of_another_person_in_the_same_browser_is_another_person(world):
    study = opened(world, nickname=False)
    client = Client()
    for invitation in invite(study, None, ["a", "b"]):
        client.post(reverse("join-invitation", args=[token(invitation)]))
    assert Participant.objects.count() == 2
    assert Participant.objects.values("user").distinct().count() == 2


@pytest.mark.parametrize("what", ["expired", "revoked", "forged", "closed"])
def test_an_invitation_that_leads_nowhere_says_why(world, what):
    study = opened(world)
    (invitation,) = invite(study, None, [""])
    signed = token(invitation)
    if what == "expired":
        Invitation.objects.update(expires=timezone.now() - timedelta(minutes=1))
    elif what == "revoked":
        revoke(invitation, None)
    elif what == "closed":
        close(study, None)
    else:
        signed = f"{invitation.uuid.hex}~forged"
    said = {
        "expired": "has run out", "revoked": "has been taken back", "forged": "does not lead to a study",
        "closed": "This study is closed",
    }[what]  # fmt: skip
    door = reverse("join-invitation", args=[signed])
    for answer in (Client().get(door), Client().post(door, {"nickname": "Kim"})):
        assert said in answer.content.decode()
        assert answer["Referrer-Policy"] == "strict-origin"
    assert not Participant.objects.exists()


# --- Prolific --------------------------------------------------------------------------------------------------------


def test_prolific_one_id_one_participation_whatever_the_browser(world):
    study = opened(world, prolific=True)
    door, sent = prolific(study)
    client = Client()
    page = client.get(door, sent)
    assert page["Referrer-Policy"] == "strict-origin"
    fields = dict(re.findall(r'type="hidden" name="([A-Z_]+)" value="([^"]*)"', page.content.decode()))
    assert fields == sent
    assert not Participant.objects.exists(), "a program that previews links makes nobody a participant"
    walker = Walker(client, study)
    walker.send(door, **fields)
    here = walker.at
    guest = guest_of(study)
    assert (guest.external_id, guest.session) == (PID, {"STUDY_ID": "S1", "SESSION_ID": "T1"})
    assert PID not in walker.page
    answer = client.get(door, sent)
    assert answer["Location"] == reverse("study", args=[study.uuid]), "coming back goes on at once"
    other = Walker(Client(), study)
    assert other.send(door, **fields) == here
    assert Participant.objects.count() == 1


def test_another_prolific_id_in_the_same_browser_is_another_person(world):
    study = opened(world, prolific=True)
    client = Client()
    for pid in ("one", "two"):
        door, sent = prolific(study, PROLIFIC_PID=pid)
        client.post(door, sent)
    assert set(Participant.objects.values_list("external_id", flat=True)) == {"one", "two"}
    assert Participant.objects.values("user").distinct().count() == 2


@pytest.mark.parametrize(
    ("pid", "said"),
    [
        (None, "did not come along"),
        ("", "did not come along"),
        ("{{%PROLIFIC_PID%}}", "Open the study from its page on Prolific once more"),
        ("x" * 65, "Open the study from its page on Prolific once more"),
        ("<script>", "Open the study from its page on Prolific once more"),
        ("abc\n", "Open the study from its page on Prolific once more"),
    ],
)
def test_a_missing_or_odd_prolific_id_says_what_to_do(world, pid, said):
    door, sent = prolific(opened(world, prolific=True), PROLIFIC_PID=pid)
    for answer in (Client().get(door, sent), Client().post(door, sent)):
        assert answer.status_code == 400
        assert said in unescape(answer.content.decode())
    assert not Participant.objects.exists()


def test_an_odd_session_id_is_refused_and_a_missing_one_is_not(world):
    study = opened(world, prolific=True)
    door, sent = prolific(study, SESSION_ID="a b")
    assert Client().post(door, sent).status_code == 400
    door, sent = prolific(study, SESSION_ID=None, STUDY_ID=None)
    assert Client().post(door, sent).status_code == 302
    assert guest_of(study).session == {}


def test_a_study_that_takes_nobody_from_prolific_says_so(world):
    door, sent = prolific(opened(world, open_link=True))
    assert "does not take people from Prolific" in Client().post(door, sent).content.decode()
    assert not Participant.objects.exists()


def test_from_prolific_and_back_with_the_code(world):
    study = opened(world, prolific=True)
    door, sent = prolific(study)
    walker = Walker(Client(), study)
    walker.send(door, **sent)
    walker.answer()
    walker.answer()
    assert walker.place == "end"
    assert "DONE-1" in walker.page
    assert 'href="https://app.prolific.com/submissions/complete?cc=DONE-1"' in walker.page
    close(study, None)
    again = Walker(Client(), study)
    again.send(door, **sent)
    assert "DONE-1" in again.page, "from another browser, after the study closed"


def test_who_returns_their_place_is_told_to_return_the_submission_too(world):
    study = opened(world, prolific=True)
    door, sent = prolific(study)
    walker = Walker(Client(), study)
    walker.send(door, **sent)
    walker.open("/")
    assert reverse("study-stop", args=[study.uuid]) in walker.page
    walker.send(reverse("study-stop", args=[study.uuid]))
    assert "Please return your submission on Prolific." in walker.page
    walker.send(door, **sent)
    assert "your place is free again" in walker.page, "the same id does not begin anew"
    assert guest_of(study).outcome == "returned"


def test_an_account_that_follows_a_prolific_link_is_told_that_it_is_signed_out(world):
    study = opened(world, prolific=True)
    door, sent = prolific(study)
    client = signed_in(world.annotator)
    assert "You are signed in as ada." in client.get(door, sent).content.decode()
    client.post(door, sent)
    assert is_guest(guest_of(study).user)
    assert int(client.session["_auth_user_id"]) == guest_of(study).user_id
