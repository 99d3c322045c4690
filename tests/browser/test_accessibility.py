"""WCAG 2.2 AA as far as axe can tell, on every annotator page: light, dark and high contrast, narrow to wide."""

from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest

from annotation.making import TrialItem, add_trials
from annotation.publishing import close, create_study, publish
from tests.browser.world import make_world

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
RUN = """async (more) => {
  const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
  const rules = more ? { 'color-contrast-enhanced': { enabled: true } } : {};
  const found = await axe.run(document, { runOnly: tags, rules });
  return found.violations.flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html.slice(0, 260)}`));
}"""
# High contrast is held to 7:1 (WCAG 2.2 AAA, 1.4.6).
MODES = {"light": {}, "dark": {"color_scheme": "dark"}, "contrast": {"contrast": "more"}}


@pytest.mark.parametrize(("mode", "width"), [("light", 1440), ("dark", 360), ("contrast", 768)])
def test_axe_finds_nothing(person: Any, mode: str, width: int) -> None:
    world = make_world(images=2, classifiers=2)
    rating, drawing, over = world.reasonability(maps=2, images=1), world.map_drawing(images=1), world.reasonability()
    pairs, practice = world.preference(images=1), _practice(world)
    ada = person(viewport={"width": width, "height": 760}, **MODES[mode])
    ada.expected.append("404")
    found: dict[str, list[str]] = {}

    def look(name: str) -> None:
        page = ada.page
        page.evaluate(AXE)
        found[name] = page.evaluate(RUN, mode == "contrast")

    page = ada.open("/login/")
    look("login")
    ada.known_as(world.annotator)
    ada.open("/nowhere/")
    look("missing page")
    ada.open("/")
    look("home")
    page.get_by_role("button", name="Appearance").click()
    look("appearance")
    ada.begin(drawing)
    look("drawing")
    page.locator("#send").click()
    look("drawing, told that nothing is painted")
    ada.begin(pairs)
    look("pairs")
    ada.begin(practice)
    for key in ("n", "n", "2", "Enter"):
        page.keyboard.press(key)
    page.locator("#note:visible").wait_for()
    look("practice, told what was right")
    ada.begin(rating)
    page.keyboard.press("y")
    page.keyboard.press("Enter")
    look("rating, told what is open")
    page.keyboard.press("?")
    look("help")
    page.keyboard.press("Escape")
    ada.expected.append("ERR_FAILED")
    page.route("**/answer/", lambda route: route.abort(), times=1)
    for key in ["n", "3", "]", "y", "n", "4", "Enter"]:
        page.keyboard.press(key)
    page.get_by_text("No connection").wait_for()
    look("no connection")
    page.get_by_role("button", name="Try now").click()
    page.get_by_text("That was the last one").wait_for()
    look("done")
    ada.open(f"/studies/{rating.uuid}/answers/")
    look("own answers")
    ada.begin(over)
    close(over, None)
    ada.open(f"/studies/{over.uuid}/")
    look("closed")
    assert [f"{name}: {line}" for name, lines in found.items() for line in lines] == []


def _practice(world: Any) -> Any:
    """A study whose first trial says what was right about the answer."""
    study = create_study(
        kind="reasonability", name="With practice", owner=None, image_set=world.image_set, images=world.images[:1],
        explanation_sets=world.sets[:1],
    )  # fmt: skip
    add_trials(study, None, "practice", [TrialItem(world.images[1], gold={"necessary": "yes"})])
    return publish(study, None)


def test_in_forced_colours_what_is_chosen_can_be_seen(person: Any) -> None:
    """Contrast themes of the system paint backgrounds away; a chosen answer must still differ."""
    world = make_world(images=1)
    ada = person(forced_colors="active")
    ada.known_as(world.annotator)
    page = ada.begin(world.reasonability())
    page.keyboard.press("y")
    ground = "getComputedStyle(document.querySelector('[data-question] input{} + span')).backgroundColor"
    assert page.evaluate(ground.format(":checked")) != page.evaluate(ground.format(":not(:checked)"))


def test_nothing_moves_for_those_who_asked_for_rest(person: Any) -> None:
    world = make_world(images=1)
    ada = person(reduced_motion="reduce")
    ada.known_as(world.annotator)
    study = world.reasonability()
    page = ada.page
    page.route("**/pictures/**", lambda route: None)  # the skeleton stays
    ada.open(f"/studies/{study.uuid}/")
    page.locator("body.waiting").wait_for()
    assert page.evaluate("document.getAnimations().length") == 0
