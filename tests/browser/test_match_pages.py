"""Matched parts on the researchers' pages: they light each other, by mouse and keyboard; what is painted decides."""

import pytest
from django.urls import reverse

from mlcore.exchange.correspondences import add_correspondences
from mlcore.models import Explanation, Inquiry
from tests.browser.test_admin_look import a_world, look, violations, working
from tests.browser.test_team import lit
from tests.mlcore.runs.compared import make_gallery

PICTURES = "[...document.querySelectorAll('.h-match img')].every(one => one.complete && one.naturalWidth > 0)"
PATCHES = [
    {"query": [0, 0, 0.25, 0.5], "neighbour": [0.5, 0.5, 0.75, 1], "score": 0.8},
    {"query": [0.5, 0.25, 0.75, 0.5], "neighbour": [0, 0, 0.25, 0.25], "score": 0.5},
]
__all__ = ["working"]


def matched(world, owner, classifier) -> Explanation:
    """The first picture with two neighbours: of the second only one part matches."""
    first, *others = world.images
    items = [{"image": other, "score": 0.9 - place / 10} for place, other in enumerate(others)]
    for method, rows in (
        ("knn", items),
        ("emd_corr", [item | {"patches": PATCHES[: 2 - place]} for place, item in enumerate(items)]),
    ):
        made = add_correspondences(
            classifier, world.image_set, [{"image": first, "predicted": 1, "confidence": 0.6, "neighbours": rows}],
            owner=owner, method=method, payload="matches" if method == "emd_corr" else "neighbours",
        )  # fmt: skip
    return made.explanations.get()


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (360, "dark")])
def test_a_part_lights_its_partner(person, width, scheme) -> None:
    world, owner, classifier = a_world()
    one = person(viewport={"width": width, "height": 900}, color_scheme=scheme)
    one.known_as(owner)
    page = one.open(reverse("admin:mlcore_explanationset_match", args=[matched(world, owner, classifier).pk]))
    page.wait_for_function(PICTURES)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    nothing = {"picture": [], "neighbour": [], "chips": []}
    assert lit(page) == nothing
    page.locator(".seen g:not([hidden]) > .patch[data-patch='1'] .line").hover()
    assert lit(page) == {"picture": ["1"], "neighbour": ["1"], "chips": ["1"]}
    page.locator(".h-title").hover()
    assert lit(page) == nothing
    # By keyboard: Tab to a number, Enter keeps it, brackets change the neighbour, Escape lets go.
    page.locator(".chip").first.focus()
    page.keyboard.press("Tab")
    assert lit(page) == {"picture": ["2"], "neighbour": ["2"], "chips": ["2"]}
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert page.locator(".chip").first.get_attribute("aria-pressed") == "true"
    page.keyboard.press("]")
    assert page.locator(".shows-matches .neighbour.in-hand").get_attribute("data-neighbour") == "1"
    assert lit(page) == {"picture": ["1"], "neighbour": ["1"], "chips": ["1"]}, "what was kept stays lit"
    assert page.locator(".chip:visible").count() == 1
    assert page.locator(".seen g:not([hidden]) > .patch rect.line").count() == 1
    page.keyboard.press("[")
    page.keyboard.press("Escape")
    page.locator(".chip").first.blur()
    assert lit(page) == nothing
    # A box lies where the shares say.
    for picture, box, corners in (
        (".seen img", ".seen g:not([hidden]) > .patch[data-patch='2'] .line", (0.5, 0.25, 0.75, 0.5)),
        (".shows-matches .neighbour img", ".neighbour .patch[data-patch='2'] .line", (0, 0, 0.25, 0.25)),
    ):
        shown, drawn = (
            page.locator(each).first.evaluate("one => one.getBoundingClientRect().toJSON()") for each in (picture, box)
        )
        found = [
            (drawn[edge] - shown[start]) / shown[size]
            for edge, start, size in (("left", "x", "width"), ("top", "y", "height"))
        ]
        assert found == pytest.approx(corners[:2], abs=0.03)
    for kind in ("SVG", "PNG"):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=kind).click()
        assert waiting.value.suggested_filename.endswith(f".{kind.lower()}")


def test_a_part_lights_its_partner_by_touch(person) -> None:
    world, owner, classifier = a_world()
    one = person(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    one.known_as(owner)
    page = one.open(reverse("admin:mlcore_explanationset_match", args=[matched(world, owner, classifier).pk]))
    page.locator(".chip").nth(1).tap()
    assert lit(page) == {"picture": ["2"], "neighbour": ["2"], "chips": ["2"]}
    sizes = page.locator(".h-match button:visible").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect()).map(box => Math.min(box.width, box.height))"
    )
    assert min(sizes) >= 43.9, "what is pressed is at least 44 px"


@pytest.mark.parametrize(("width", "scheme"), [(1440, "dark"), (360, "light")])
def test_what_is_painted_decides(person, working, width, scheme) -> None:
    world, owner, classifier = a_world()
    make_gallery(classifier, world.image_set)
    page = look(
        person, owner, classifier, "compare", viewport={"width": width, "height": 900}, color_scheme=scheme
    )  # fmt: skip
    page.set_default_timeout(60_000)  # the first answer loads PyTorch
    assert violations(page) == []
    page.get_by_label("Way of comparing").select_option("cosine_corr")
    page.locator(f"input[name=image][value='{world.images[0].pk}']").check(force=True)
    page.get_by_role("button", name="Compare", exact=True).click()
    page.locator("[data-answer]").wait_for()
    assert page.locator(".shows-matches").count() == 1
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    # A stroke through the upper row; a second one that begins on a mark takes away.
    grid = page.locator(".cells")
    grid.scroll_into_view_if_needed()
    cells = grid.locator("input")
    count = cells.count()
    side = round(count**0.5)
    assert side * side == count >= 16
    stroke(page, cells.nth(0), cells.nth(side - 1))
    ticked = "all => all.filter(one => one.checked).map(one => one.value)"
    assert cells.evaluate_all(ticked) == [f"0-{column}" for column in range(side)]
    stroke(page, cells.nth(1), cells.nth(side - 1))
    assert cells.evaluate_all(ticked) == ["0-0"]

    # By keyboard: arrows go from cell to cell, Space marks, Enter compares.
    cells.nth(0).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")  # there is no row above
    assert cells.evaluate_all(ticked) == ["0-0", "1-1"]
    page.keyboard.press("Enter")
    page.locator(".h-match-change").wait_for()
    row = Inquiry.objects.order_by("-pk").first()
    assert row.question["marked"] == [[0, 0], [1, 1]]
    assert [one.question["marked"] for one in Inquiry.objects.order_by("pk")] == [None, [[0, 0], [1, 1]]]
    told = page.locator(".h-match-change b").all_inner_texts()
    names = [one.answer["ways"][-1]["name"] for one in Inquiry.objects.order_by("pk")]
    assert told == names
    assert page.locator(".shows-matches").count() == 2
    assert cells.evaluate_all(ticked) == ["0-0", "1-1"], "what was marked stays marked"
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    # Two boards, each with keys of its own: those of the board in which the focus is.
    second = page.locator(".shows-matches").nth(1)
    second.locator(".chip").first.focus()
    page.keyboard.press("]")
    hands = page.locator(".neighbour.in-hand").evaluate_all("all => all.map(one => one.dataset.neighbour)")
    assert hands == ["0", "1"]

    # Nothing marked again: the first answer, without asking anew.
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Compare by what is marked").click()
    page.locator(".h-match-change").wait_for(state="detached")
    assert Inquiry.objects.count() == 2
    # Another way of comparing asks at once and takes no marks.
    page.get_by_label("Way of comparing").select_option("emd_corr")
    page.get_by_text("can be marked for CHM-Corr").wait_for()
    assert Inquiry.objects.order_by("-pk").first().question["matcher"] == "emd_corr"


def stroke(page, start, end) -> None:
    """Pressed on one cell and drawn to another in a single quick move."""
    here, there = start.bounding_box(), end.bounding_box()
    page.mouse.move(here["x"] + here["width"] / 2, here["y"] + here["height"] / 2)
    page.mouse.down()
    page.mouse.move(there["x"] + there["width"] / 2, there["y"] + there["height"] / 2, steps=1)
    page.mouse.up()
