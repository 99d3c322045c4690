"""The editor's tools in Chromium: outline, fill, pressure, palms, the starting map, phones, 12 megapixels."""

import numpy as np
import pytest
from scipy import ndimage

from annotation.models import Answer, DrawnMap
from tests.browser.easel import Easel, segment, sent, size
from tests.browser.shapes import KITE, assert_outline, inside, look, tool, unpacked
from tests.browser.world import HEIGHT, WIDTH, make_world


@pytest.fixture
def world():
    return make_world(images=2, classifiers=1)


@pytest.fixture
def ada(person, world):
    one = person()
    one.known_as(world.annotator)
    return one


# --- outline --------------------------------------------------------------------------------------------------------


def test_an_outline_closes_at_its_first_corner_and_is_one_step(ada, world):
    page = ada.begin(world.map_drawing())
    easel = Easel(page)
    tool(page, "Outline")
    page.get_by_text("Set corners around it").wait_for()
    for corner in [*KITE, KITE[0]]:
        easel.stroke(corner)
    assert page.locator("svg.outline").is_hidden()
    tool(page, "Undo")
    assert look(page, "desk.mask.empty && !desk.canUndo")
    tool(page, "Redo")
    assert_outline(sent(page), KITE)
    assert [stroke["t"] for stroke in DrawnMap.objects.get().strokes] == ["p"]
    assert DrawnMap.objects.get().strokes[0]["p"] == [value for corner in KITE for value in corner]


def test_two_presses_in_one_place_close_too_and_the_right_button_cuts_out(ada, world):
    page = ada.begin(world.map_drawing())
    easel = Easel(page)
    tool(page, "Outline")
    for corner in KITE[:3]:
        easel.stroke(corner)
    page.mouse.dblclick(*easel.at(*KITE[3]))
    hole = [(55.0, 40.0), (75.0, 40.0), (65.0, 60.0)]
    for corner in hole:
        easel.stroke(corner, button="right")
    page.keyboard.press("Enter")
    mask = sent(page)
    assert not mask[inside(hole, 0.7)].any()
    assert_outline(mask | inside(hole, -0.8), KITE)
    assert DrawnMap.objects.get().strokes[1]["e"] == 1


def test_an_outline_by_keyboard_alone(ada, world):
    page = ada.begin(world.map_drawing())
    page.locator("#easel").focus()
    page.keyboard.press("p")
    corner = [WIDTH / 2, HEIGHT / 2]
    corners = []

    def go(key: str, times: int, dx: int, dy: int) -> None:
        for _ in range(times):
            page.keyboard.press(f"Shift+{key}")
        corner[0] += dx * times
        corner[1] += dy * times
        page.keyboard.press(" ")
        corners.append((corner[0], corner[1]))

    go("ArrowLeft", 20, -1, 0)
    go("ArrowUp", 15, 0, -1)
    page.keyboard.press("Enter")  # two corners enclose nothing
    page.get_by_text("An outline needs three corners").wait_for()
    assert Answer.objects.count() == 0
    go("ArrowRight", 30, 1, 0)
    go("ArrowRight", 5, 1, 0)
    page.keyboard.press("Backspace")  # the last corner was one too many
    corners.pop()
    corner[0] -= 0  # the crosshair stays where it is
    go("ArrowDown", 15, 0, 1)
    page.keyboard.press("Enter")
    mask = sent(page)
    assert_outline(mask, corners)


def test_an_open_outline_is_not_sent_by_mistake_and_escape_drops_it(ada, world):
    page = ada.begin(world.map_drawing())
    easel = Easel(page)
    easel.stroke((20, 80))
    tool(page, "Outline")
    for corner in KITE[:3]:
        easel.stroke(corner)
    page.locator("#send").click()
    page.get_by_text("Your outline is still open").wait_for()
    tool(page, "Undo")  # takes a corner back, not the dot
    assert look(page, "!desk.mask.empty && desk.hand.open")
    page.locator("#easel").focus()
    page.keyboard.press("Escape")
    assert not look(page, "desk.hand.open")
    sent(page)
    assert [stroke["t"] for stroke in DrawnMap.objects.get().strokes] == ["b"]


# --- fill -----------------------------------------------------------------------------------------------------------


def test_a_closed_outline_is_filled_in_one_step(ada, world):
    page = ada.begin(world.map_drawing())
    easel = Easel(page)
    size(page, 4)
    easel.stroke(*KITE, KITE[0])
    ring = look(page, "[...desk.mask.bytes]")
    page.keyboard.press("f")
    easel.stroke((60, 50))
    page.keyboard.press("z")
    assert look(page, "[...desk.mask.bytes]") == ring
    page.keyboard.press("x")
    easel.stroke((60, 50))  # painted already
    page.get_by_text("This is painted already").wait_for()
    mask = sent(page)
    before = unpacked(ring, WIDTH, HEIGHT)
    assert (mask == ndimage.binary_fill_holes(before)).all()
    assert mask.sum() > before.sum() + 1000
    assert DrawnMap.objects.get().strokes[1] == {"t": "f", "p": [60, 50]}


def test_an_open_outline_is_not_filled_and_the_page_says_why(ada, world):
    page = ada.begin(world.map_drawing())
    easel = Easel(page)
    size(page, 4)
    easel.stroke(*KITE)  # the last side is missing
    before = look(page, "[...desk.mask.bytes]")
    tool(page, "Fill")
    easel.stroke((60, 50))
    page.get_by_text("This is not closed all around").wait_for()
    assert look(page, "[...desk.mask.bytes]") == before
    assert look(page, "desk.history.strokes.length") == 1


def test_fill_by_keyboard_and_with_shift_a_patch_goes(ada, world):
    page = ada.begin(world.map_drawing())
    easel = Easel(page)
    size(page, 4)
    box = [(40.0, 30.0), (95.0, 30.0), (95.0, 70.0), (40.0, 70.0), (40.0, 30.0)]
    easel.stroke(*box)
    easel.stroke((15, 15))  # a patch apart
    page.locator("#easel").focus()
    page.keyboard.press("f")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press(" ")
    assert look(page, "desk.mask.at(66, 48)") == 1
    page.keyboard.down("Shift")
    easel.stroke((15, 15))
    page.keyboard.up("Shift")
    mask = sent(page)
    assert not mask[:25, :25].any()
    assert mask[34:66, 44:91].all()


def test_flood_and_shapes_agree_with_scipy_on_random_masks(ada):
    """In the browser's own modules: 40 random masks of odd sizes, four seeds each."""
    page = ada.open("/login/")
    found = page.evaluate(
        """async () => {
          const { Mask } = await import('/static/js/editor/mask.js');
          const { flood } = await import('/static/js/editor/flood.js');
          let seed = 7;
          const random = () => (seed = (seed * 1664525 + 1013904223) >>> 0) / 2 ** 32;
          const cases = [];
          for (let k = 0; k < 40; k += 1) {
            const mask = new Mask(1 + Math.floor(random() * 90), 1 + Math.floor(random() * 60));
            const { width, height } = mask;
            for (let i = 0; i < 30; i += 1) {
              const from = Math.floor(random() * width);
              mask.run(Math.floor(random() * height), from, Math.min(width, from + 1 + Math.floor(random() * 9)), 1);
            }
            mask.capsule(random() * width, random() * height, 3, random() * width, random() * height, 1, 1);
            for (let i = 0; i < 4; i += 1) {
              const x = Math.floor(random() * width);
              const y = Math.floor(random() * height);
              const all = flood(mask, x, y, false);
              cases.push({ width, height, x, y, mask: [...mask.bytes], region: [...all.region.bytes], rect: all.rect,
                open: flood(mask, x, y, true) === null });
            }
          }
          return cases;
        }"""
    )
    assert len(found) == 160
    for case in found:
        shape = (case["height"], case["width"])
        mask, region = (
            np.unpackbits(np.array(case[name], dtype=np.uint8).reshape(shape[0], -1), axis=1)[:, : shape[1]].astype(
                bool
            )
            for name in ("mask", "region")
        )
        labels, _ = ndimage.label(mask == mask[case["y"], case["x"]])
        expected = labels == labels[case["y"], case["x"]]
        assert (region == expected).all()
        rows, columns = np.nonzero(expected)
        assert case["rect"] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        border = expected[0].any() or expected[-1].any() or expected[:, 0].any() or expected[:, -1].any()
        assert case["open"] == border


# --- pens and palms -------------------------------------------------------------------------------------------------

POINTERS = """(steps) => {
  const easel = document.getElementById('easel');
  easel.setPointerCapture = () => {};
  for (const [pointerType, pointerId, type, clientX, clientY, pressure = 0.5] of steps) {
    easel.dispatchEvent(new PointerEvent(type, { pointerType, pointerId, bubbles: true, clientX, clientY, pressure,
      buttons: type === 'pointerup' ? 0 : 1 }));
  }
}"""


def test_pressure_varies_the_width_of_a_pens_stroke(ada, world):
    page = ada.begin(world.map_drawing())
    easel = Easel(page)
    size(page, 20)
    steps = [["pen", 5, "pointerdown", *easel.at(20, 48), 0.1]]
    steps += [["pen", 5, "pointermove", *easel.at(20 + x, 48), 0.1 + 0.009 * x] for x in range(1, 91)]
    steps.append(["pen", 5, "pointerup", *easel.at(110, 48), 0])
    page.evaluate(POINTERS, steps)
    mask = sent(page)
    heights = mask.sum(axis=0)
    for column in (30, 50, 70, 90, 105):
        share = 0.4 + 0.6 * (0.1 + 0.009 * (column + 0.5 - 20))
        assert heights[column] == pytest.approx(20 * share, abs=1.8)
    stroke = DrawnMap.objects.get().strokes[0]
    assert len(stroke["w"]) == len(stroke["p"]) / 2
    assert stroke["w"][0] == 46
    assert stroke["w"] == sorted(stroke["w"])
    assert stroke["w"][-1] > 90


def test_a_palm_neither_paints_nor_zooms_and_then_fingers_pan(ada, world):
    page = ada.begin(world.map_drawing())
    easel = Easel(page)
    size(page, 10)
    view = "[desk.view.x, desk.view.y, desk.view.scale]"
    at_first = look(page, view)
    page.evaluate(
        POINTERS,
        [
            ["touch", 1, "pointerdown", *easel.at(100, 80)],  # the palm comes down before the pen
            ["touch", 1, "pointermove", *easel.at(102, 80)],
            ["pen", 5, "pointerdown", *easel.at(20, 20)],
            ["touch", 2, "pointerdown", *easel.at(110, 85)],
            ["touch", 2, "pointermove", *easel.at(60, 85)],
            ["pen", 5, "pointermove", *easel.at(60, 20)],
            ["touch", 1, "pointermove", *easel.at(90, 80)],
            ["pen", 5, "pointerup", *easel.at(60, 20)],
            ["touch", 3, "pointerdown", *easel.at(80, 60)],  # at once after the pen
            ["touch", 3, "pointermove", *easel.at(90, 60)],
            ["touch", 3, "pointerup", *easel.at(90, 60)],
            ["touch", 1, "pointerup", *easel.at(90, 80)],
            ["touch", 2, "pointerup", *easel.at(60, 85)],
        ],
    )
    assert look(page, view) == at_first
    assert look(page, "desk.history.strokes.length") == 1
    page.wait_for_timeout(600)
    one_finger = [
        ["touch", 4, "pointerdown", *easel.at(60, 60)],
        ["touch", 4, "pointermove", *easel.at(70, 65)],
        ["touch", 4, "pointerup", *easel.at(70, 65)],
    ]
    page.evaluate(POINTERS, one_finger)
    assert look(page, view)[0] == pytest.approx(at_first[0] + 10 * easel.scale, abs=0.1)
    assert look(page, "desk.history.strokes.length") == 1, "with a pen in use a finger moves the picture"
    page.get_by_label("Fingers paint").check()
    page.keyboard.press("0")
    page.evaluate(POINTERS, one_finger)
    mask = sent(page)
    pen, finger = segment(20, 20, 60, 20), segment(60, 60, 70, 65)
    assert mask[(pen < 4.2) | (finger < 4.2)].all()
    assert not mask[(pen > 5.8) & (finger > 5.8)].any()
