"""WCAG 2.2 AA as far as axe can tell, on every annotator page, light and dark, wide and narrow."""

from pathlib import Path

import axe_playwright_python
import pytest

from annotation.publishing import close
from tests.browser.world import make_world

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
RUN = """async () => {
  const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
  const found = await axe.run(document, { runOnly: tags });
  return found.violations.flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html.slice(0, 150)}`));
}"""


def violations(page) -> list[str]:
    page.evaluate(AXE)
    return page.evaluate(RUN)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 360)])
def test_axe_finds_nothing(person, scheme, width):
    world = make_world(images=1, classifiers=2)
    rating, drawing, over = world.reasonability(maps=2), world.map_drawing(), world.reasonability()
    ada = person(viewport={"width": width, "height": 760}, color_scheme=scheme)
    ada.expected.append("404")
    found = {"login": violations(ada.open("/login/"))}
    ada.known_as(world.annotator)
    found["missing page"] = violations(ada.open("/nowhere/"))
    found["home"] = violations(ada.open("/"))
    page = ada.begin(drawing)
    found["drawing"] = violations(page)
    page.locator("#send").click()
    found["drawing, told that nothing is painted"] = violations(page)
    page = ada.begin(rating)
    page.keyboard.press("y")
    page.keyboard.press("Enter")
    found["rating, told what is open"] = violations(page)
    page.keyboard.press("?")
    found["help"] = violations(page)
    page.keyboard.press("Escape")
    for key in ["n", "3", "]", "y", "n", "4", "Enter"]:
        page.keyboard.press(key)
    page.get_by_text("That was the last one").wait_for()
    found["done"] = violations(page)
    found["own answers"] = violations(ada.open(f"/studies/{rating.uuid}/answers/"))
    ada.begin(over)
    close(over, None)
    found["closed"] = violations(ada.open(f"/studies/{over.uuid}/"))
    assert {name: lines for name, lines in found.items() if lines} == {}
