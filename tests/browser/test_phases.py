"""The whole way through a study in Chromium: by mouse, by keyboard alone, on a telephone, in the dark; and ways in."""

import json
import os
from pathlib import Path

import axe_playwright_python
import pytest
from django.core.files.base import ContentFile

from annotation.invitations import invite, token
from annotation.models import ExitAnswers, Participant, StudyPicture
from annotation.people import add_researcher
from tests.annotation.phased import phased_study
from tests.browser.conftest import ready
from tests.browser.world import PASSWORD, make_world

WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
RUN = """async () => {
  const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
  const found = await axe.run(document, { runOnly: tags });
  return found.violations.flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html.slice(0, 150)}`));
}"""
SHOTS = os.environ.get("HARMONY_SCREENSHOTS")


@pytest.fixture
def world():
    return make_world(images=2, classifiers=1)


def with_picture(study, world):
    picture = StudyPicture(study=study, name="scene", width=132, height=96)
    with world.images[0].file.open("rb") as stream:
        picture.file.save("scene", ContentFile(stream.read()), save=False)
    picture.save()
    return study


def seen(page, name, found):
    """Nothing sticks out sideways, axe finds nothing; a picture of the page is kept where a folder is named."""
    assert page.evaluate(WIDE) <= 0, f"{name} is wider than the screen"
    page.evaluate(AXE)
    found[name] = page.evaluate(RUN)
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"), full_page=True)


def answer(page, keys=("y", "n", "4")):
    ready(page)
    for key in keys:
        page.keyboard.press(key)
    page.keyboard.press("Enter")


def next_page(page, before):
    page.wait_for_function("before => location.pathname !== before", arg=before)


def answer_and_go_on(page):
    ready(page)
    before = page.evaluate("location.pathname")
    answer(page)
    next_page(page, before)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 360)])
def test_the_whole_way_by_mouse(person, world, scheme, width):
    with_picture(phased_study(world, qualification=1), world)
    options = {"has_touch": True, "is_mobile": True} if width < 500 else {}
    ada = person(color_scheme=scheme, viewport={"width": width, "height": 740}, **options)
    ada.known_as(world.annotator)
    page, found = ada.open("/"), {}
    tag = f"{scheme}-{width}"
    page.get_by_role("link", name="Start").click()
    page.get_by_role("heading", name="Where does it look?").wait_for()
    seen(page, f"{tag}-consent", found)
    page.get_by_role("button", name="I agree", exact=True).click()
    page.get_by_role("link", name="Next").click()
    page.get_by_text("Page 2 of 2").wait_for()
    assert page.locator(".prose img").evaluate("async image => { await image.decode(); return image.naturalWidth }") > 0
    seen(page, f"{tag}-introduction", found)
    page.get_by_role("button", name="Begin").click()
    ready(page)
    assert "Practice 1 of 1" in page.locator(".bar").inner_text()
    seen(page, f"{tag}-practice", found)
    before = page.evaluate("location.pathname")
    answer(page)
    page.get_by_text("Right:").wait_for()
    page.wait_for_timeout(500)  # a second press at once would not be taken for a wish to go on
    page.locator("#send").click()
    next_page(page, before)
    answer(page, ("n", "n", "1"))
    page.get_by_role("heading", name="Not quite yet").wait_for()
    seen(page, f"{tag}-again", found)
    page.get_by_role("button", name="Try once more").click()
    for _ in range(3):
        answer_and_go_on(page)
    page.get_by_role("heading", name="A few last questions").wait_for()
    assert page.locator(":checked").count() == 0, "nothing is preselected"
    seen(page, f"{tag}-questions", found)
    page.get_by_label("How old are you?").fill("many")
    page.get_by_role("group", name="Was it easy?").get_by_label("6").check()
    page.get_by_label("a telephone").check()
    page.get_by_role("button", name="Send and finish").click()
    page.get_by_text("Write a number, please.").wait_for()
    assert page.get_by_label("a telephone").is_checked()
    seen(page, f"{tag}-questions-wrong", found)
    page.get_by_label("How old are you?").fill("31")
    page.get_by_role("button", name="Send and finish").click()
    page.get_by_text("DONE-1").wait_for()
    seen(page, f"{tag}-end", found)
    assert ExitAnswers.objects.get().values == {"age": 31, "how": 6, "device": "a telephone"}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_the_whole_way_by_keyboard_alone(person, world):
    study = phased_study(world, practice=0, qualification=0)
    ada = person()
    ada.known_as(world.annotator)
    page = ada.open(f"/studies/{study.uuid}/")

    def tab_to(name, most=40):
        for _ in range(most):
            page.keyboard.press("Tab")
            said = page.evaluate("document.activeElement.innerText || document.activeElement.id || ''")
            if said.strip() == name:
                return
        raise AssertionError(f"“{name}” cannot be reached by Tab")

    tab_to("I agree")
    page.keyboard.press("Enter")
    page.get_by_text("Page 1 of 2").wait_for()
    tab_to("Next")
    page.keyboard.press("Enter")
    page.get_by_text("Page 2 of 2").wait_for()
    tab_to("Back")
    tab_to("Begin", 80)
    page.keyboard.press("Enter")
    for _ in range(2):
        answer_and_go_on(page)
    page.get_by_role("heading", name="A few last questions").wait_for()
    tab_to("q-age")
    page.keyboard.type("44")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    tab_to("Send and finish")
    page.keyboard.press("Enter")
    page.get_by_text("DONE-1").wait_for()
    assert ExitAnswers.objects.get().values == {"age": 44, "how": 3, "device": "a screen"}


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
