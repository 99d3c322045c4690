"""Ways in and out of a study in Chromium: links, invitations, another device, the recruiting site, a preview."""

import json

from annotation.invitations import invite, token
from annotation.models import Participant
from annotation.people import add_researcher
from tests.annotation.phased import phased_study
from tests.browser.conftest import ready
from tests.browser.test_phases import answer_and_go_on, seen, world
from tests.browser.world import PASSWORD

__all__ = ["world"]


def test_the_code_is_copied_and_leads_back_to_the_recruiting_site(person, world):
    plan = {
        "people": {"accounts": False, "prolific": True}, "exit": [], "introduction": [],
        "completion": {"codes": {"completed": "C1ABCDE"}},
    }  # fmt: skip
    study = phased_study(world, practice=0, qualification=0, consent="", plan=plan)
    kim = person(viewport={"width": 360, "height": 740}, permissions=["clipboard-read", "clipboard-write"])
    page = kim.open(f"/prolific/{study.join_key}/?PROLIFIC_PID=p1&STUDY_ID=s1&SESSION_ID=t1")
    found = {}
    seen(page, "prolific-door", found)
    page.get_by_role("button", name="Begin").click()
    for _ in range(2):
        answer_and_go_on(page)
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "C1ABCDE"
    back = page.get_by_role("link", name="Go back to where you came from")
    assert back.get_attribute("href") == "https://app.prolific.com/submissions/complete?cc=C1ABCDE"
    seen(page, "prolific-end", found)
    kim.open("/")
    seen(page, "guest-home-finished", found)
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_a_guest_comes_by_a_link_leaves_stops_or_comes_back_on_another_device(person, world):
    plan = {"people": {"accounts": False, "open_link": True}}
    study = phased_study(world, practice=0, qualification=0, consent="", plan=plan | {"introduction": [], "exit": []})
    kim, found = person(viewport={"width": 360, "height": 740}), {}
    page = kim.open(f"/open/{study.join_key}/")
    seen(page, "open-door", found)
    page.get_by_label("What may we call you?").fill("Kim")
    page.get_by_role("button", name="Begin").click()
    ready(page)
    trial = page.evaluate("location.pathname")
    page.get_by_role("link", name="Leave; you can go on later").click()
    page.get_by_text("Your own link to come back by").wait_for()
    seen(page, "guest-home", found)
    link = page.locator(".guest-line input").input_value()
    other = person()
    elsewhere = other.open(link.removeprefix(other.address))
    elsewhere.get_by_text("Good to see you again, Kim.").wait_for()
    elsewhere.get_by_role("button", name="Go on").click()
    ready(elsewhere)
    assert elsewhere.evaluate("location.pathname") == trial
    page.get_by_role("link", name="Stop and give my place back").click()
    page.get_by_role("heading", name="Stop here?").wait_for()
    seen(page, "stop", found)
    page.get_by_role("button", name="Stop and give my place back").click()
    page.get_by_text("your place is free again").wait_for()
    seen(page, "returned", found)
    assert Participant.objects.get().outcome == "returned"
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_an_invitation_used_in_two_browsers_is_one_person(person, world):
    plan = {"people": {"nickname": False}, "introduction": [], "exit": []}
    study = phased_study(world, practice=0, qualification=0, consent="", plan=plan)
    (invitation,) = invite(study, None, ["one"])
    for label in ("Begin", "Go on"):
        page = person().open(f"/join/{token(invitation)}/")
        page.get_by_role("button", name=label).click()
        ready(page)
    assert Participant.objects.count() == 1


def test_a_researcher_looks_as_an_annotator_would(person, world):
    boss = add_researcher("boss", PASSWORD)
    study = phased_study(world, practice=0, qualification=0, live=False, owner=boss)
    looking, found = person(), {}
    looking.known_as(boss)
    page = looking.open(f"/studies/{study.uuid}/preview/")
    page.get_by_text("Preview: nothing here counts").wait_for()
    seen(page, "preview-consent", found)
    page.get_by_role("button", name="I agree", exact=True).click()
    page.get_by_role("link", name="Next").click()
    page.get_by_role("button", name="Begin").click()
    ready(page)
    data = json.loads(page.locator("#trial").inner_text())
    assert data["preview"] is True
    seen(page, "preview-trial", found)
    page.get_by_role("button", name="End the preview").click()
    page.wait_for_url("**/admin/**")
    assert not Participant.objects.exists()
    assert {name: lines for name, lines in found.items() if lines} == {}
