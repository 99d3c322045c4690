"""The whole way through a study in Chromium: by mouse, by keyboard alone, on a telephone, in the dark; and ways in."""

import os
from pathlib import Path

import axe_playwright_python
import pytest
from django.core.files.base import ContentFile

from annotation.models import ExitAnswers, StudyPicture
from tests.annotation.phased import phased_study
from tests.browser.conftest import ready
from tests.browser.world import make_world

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
