"""The editor as a whole: the starting map, undoing all, the record, the file that is sent, phones and 12 megapixels."""

import io
import re

import numpy as np
import pytest
from django.core.files.base import ContentFile
from PIL import Image as Pillow

from annotation.api.pictures import canvas_size
from annotation.models import Answer, Assignment, DrawnMap
from mlcore.exchange.render import map_png
from mlcore.models import ImageLabel
from tests.browser.easel import Easel, assert_capsule, segment, sent, size, touch
from tests.browser.shapes import KITE, assert_outline, look, tool, unpacked
from tests.browser.world import HEIGHT, WIDTH, make_world


@pytest.fixture
def world():
    return make_world(images=2, classifiers=1)


@pytest.fixture
def ada(person, world):
    one = person()
    one.known_as(world.annotator)
    return one


# --- the starting map -----------------------------------------------------------------------------------------------


def explained(study, threshold: int) -> np.ndarray:
    """[map ≥ threshold] at the picture's size, bilinear, from the grey map that a page gets; (H, W) bool."""
    trial = Assignment.objects.filter(trial__study=study).earliest("pk").trial
    grey = np.asarray(Pillow.open(io.BytesIO(map_png(trial.stimuli.get().explanation, canvas_size(trial.image)))))

    def weights(before: int, after: int):
        place = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
        first = place.astype(int)
        return first, np.minimum(first + 1, before - 1), place - first

    top, bottom, down = weights(grey.shape[0], HEIGHT)
    left, right, across = weights(grey.shape[1], WIDTH)
    rows = grey[top] * (1 - down[:, None]) + grey[bottom] * down[:, None]
    return rows[:, left] * (1 - across) + rows[:, right] * across >= 255 * threshold / 100


def slide(page, threshold: int) -> None:
    page.locator("#start-at").evaluate(
        "(node, value) => { node.value = value; node.dispatchEvent(new Event('input')); }", threshold
    )
    page.wait_for_function(
        "async (value) => { const { probe } = await import('/static/js/editor/probe.js');"
        "return probe.desk.history.strokes[0]?.v === value; }",
        arg=threshold,
    )


def started(world, **options):
    return world.map_drawing(explanation_sets=world.sets, settings={"start": "explanation"}, **options)


def test_a_starting_map_is_the_explanation_above_the_slider_and_one_step(ada, world):
    study = started(world)
    page = ada.begin(study)
    for threshold in (20, 85, 70):
        slide(page, threshold)
    assert look(page, "desk.history.strokes.length") == 1
    page.wait_for_timeout(500)  # one line of the record a move of the slider, when it rests
    tool(page, "Undo")
    assert look(page, "desk.mask.empty && !desk.canUndo")
    tool(page, "Redo")
    mask = sent(page)
    expected = explained(study, 70)
    assert 0.005 < expected.mean() < 0.9
    assert (mask != expected).mean() <= 0.01
    assert DrawnMap.objects.get().strokes == [{"t": "s", "v": 70}]
    assert any(event[1:] == ["start", 70] for event in Answer.objects.get().events)


def test_after_the_first_stroke_the_start_stays_as_it_is_until_that_is_undone(ada, world):
    study = started(world)
    page = ada.begin(study)
    assert page.locator("#start").is_visible()
    assert page.locator("#start output").inner_text() == "50 %"
    size(page, 8)
    Easel(page).stroke((10, 88), (50, 88))
    assert page.locator("#start").is_hidden()
    tool(page, "Undo")
    assert page.locator("#start").is_visible()
    tool(page, "Redo")
    mask = sent(page)
    line = segment(10, 88, 50, 88)
    assert mask[line < 3].all()
    assert (mask[line > 5] != explained(study, 50)[line > 5]).mean() <= 0.01
    assert [stroke["t"] for stroke in DrawnMap.objects.get().strokes] == ["s", "b"]


def test_one_may_start_empty(ada, world):
    page = ada.begin(started(world))
    page.get_by_role("button", name="Start empty").click()
    assert page.locator("#start").is_hidden()
    page.locator("#send").click()
    page.get_by_text("Nothing is painted yet").wait_for()
    size(page, 8)
    Easel(page).stroke((10, 88), (50, 88))
    assert_capsule(sent(page), (10, 88, 50, 88), 4)


def test_a_set_that_only_names_the_predicted_class_is_not_shown(ada, world):
    asked: list[str] = []
    ada.page.on("request", lambda request: asked.append(request.url))
    page = ada.begin(world.map_drawing(explanation_sets=world.sets, settings={"start": "empty"}))
    assert page.locator("#start").count() == 0
    assert look(page, "desk.mask.empty")
    assert not [url for url in asked if re.search(r"/map/", url)]


# --- what holds for all of them ---------------------------------------------------------------------------------------


def test_two_hundred_strokes_then_undo_all_is_empty(ada, world):
    page = ada.begin(world.map_drawing())
    easel = Easel(page)
    size(page, 9)
    rng = np.random.default_rng(3)
    steps = []
    for number in range(200):
        x, y = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT)
        dx, dy = rng.uniform(-30, 30, 2)
        button = 2 if number % 2 else 1  # every second one erases where the one before painted
        if number % 2:
            x, y, dx, dy = steps[-1][:4]
        steps.append((x, y, dx, dy, button))
    page.evaluate(
        """([left, top, scale, steps]) => {
          const easel = document.getElementById('easel');
          easel.setPointerCapture = () => {};
          const send = (type, x, y, buttons) => easel.dispatchEvent(new PointerEvent(type, { pointerType: 'mouse',
            pointerId: 1, bubbles: true, clientX: left + x * scale, clientY: top + y * scale, buttons }));
          for (const [x, y, dx, dy, buttons] of steps) {
            send('pointerdown', x, y, buttons);
            for (let k = 1; k <= 5; k += 1) send('pointermove', x + dx * k / 5, y + dy * k / 5, buttons);
            send('pointerup', x + dx, y + dy, 0);
          }
        }""",
        [easel.left, easel.top, easel.scale, steps],
    )
    strokes = look(page, "desk.history.strokes.length")
    assert strokes == 200
    after = look(page, "[...desk.mask.bytes]")
    undo = "for (let i = 0; i < 200; i += 1) window.dispatchEvent(new KeyboardEvent('keydown', { key: 'KEY' }));"
    undo = undo.replace("window", "document.body").replace("{ key", "{ bubbles: true, key")
    page.evaluate(undo.replace("KEY", "z"))
    assert look(page, "desk.mask.empty && !desk.canUndo && desk.mask.bytes.every((byte) => byte === 0)")
    page.evaluate(undo.replace("KEY", "x"))
    assert look(page, "[...desk.mask.bytes]") == after


def test_the_record_of_the_trial_names_tools_strokes_zooms_and_undo(ada, world):
    page = ada.begin(world.map_drawing())
    easel = Easel(page)
    page.keyboard.press("e")
    page.keyboard.press("b")
    easel.stroke((30, 30), (60, 60))
    easel.stroke((60, 30), (90, 60))
    page.keyboard.press("z")
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.wait_for_timeout(1500)
    sent(page)
    events = [event[1:] for event in Answer.objects.get().events]
    for line in (["tool", "erase"], ["tool", "brush"], ["stroke", 1, "b"], ["stroke", 2, "b"], ["undo", 1]):
        assert line in events
    # One line for presses that follow each other; a slow machine may put a pause between the two.
    assert 1 <= len([event for event in events if event[0] == "zoom"]) <= 2


def test_what_is_sent_is_one_bit_a_pixel_and_of_the_pictures_size(ada, world):
    page = ada.begin(world.map_drawing())
    easel = Easel(page)
    size(page, 6)
    easel.stroke((30, 30), (60, 60))
    page.locator("#saved[data-state=saved]").wait_for()
    kept = page.evaluate(
        """() => new Promise((done) => {
          const open = indexedDB.open('harmony');
          open.onsuccess = () => {
            const all = open.result.transaction('work').objectStore('work').getAll();
            all.onsuccess = async () => {
              open.result.close();
              done([...new Uint8Array(await all.result[0].drawing.arrayBuffer())]);
            };
          };
        })"""
    )
    data = bytes(kept)
    assert (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) == (WIDTH, HEIGHT)
    assert data[24:26] == b"\x01\x00", "one bit, greyscale"
    mask = np.asarray(Pillow.open(io.BytesIO(data)))
    assert (mask == unpacked(look(page, "[...desk.mask.bytes]"), WIDTH, HEIGHT)).all()
    assert len(page.workers) == 1, "packed beside the page"
    assert (sent(page) == mask).all()


def test_where_the_browser_has_no_worker_the_page_packs_the_drawing_itself(ada, world):
    ada.context.add_init_script("window.Worker = class { constructor() { throw new Error('refused'); } };")
    page = ada.begin(world.map_drawing())
    size(page, 6)
    Easel(page).stroke((30, 30), (60, 60))
    assert_capsule(sent(page), (30, 30, 60, 60), 3)


def test_a_worker_that_does_not_load_holds_nothing_up(ada, world):
    ada.context.route("**/png_worker.js", lambda route: route.abort())
    ada.expected.append("png_worker.js")
    page = ada.begin(world.map_drawing())
    size(page, 6)
    Easel(page).stroke((30, 30), (60, 60))
    assert_capsule(sent(page), (30, 30, 60, 60), 3)


def overlapping(page) -> list:
    """Pairs of controls of which one covers the other, and controls under 44 pixels."""
    return page.evaluate(
        """() => {
          const shown = [...document.querySelectorAll('button, input, a.icon-button')]
            .filter((node) => node.offsetParent && !node.closest('dialog'))
            .map((node) => (node.type === 'checkbox' ? node.closest('label') : node));
          const boxes = shown.map((node) => [node.textContent.trim() || node.id, node.getBoundingClientRect()]);
          const wrong = [];
          for (const [name, box] of boxes) {
            if (box.width < 44 || box.height < 44) wrong.push([name, box.width, box.height]);
            if (box.left < 0 || box.right > innerWidth || box.bottom > innerHeight) wrong.push([name, 'outside']);
          }
          for (let i = 0; i < boxes.length; i += 1) for (let k = 0; k < i; k += 1) {
            const [a, b] = [boxes[i][1], boxes[k][1]];
            const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (wide > 0.5 && high > 0.5) wrong.push([boxes[i][0], boxes[k][0]]);
          }
          return wrong;
        }"""
    )


@pytest.mark.parametrize(("width", "height"), [(360, 740), (740, 360)])
def test_a_phone_has_every_tool_in_reach_and_the_picture_is_the_largest(person, world, width, height):
    one = person(viewport={"width": width, "height": height}, has_touch=True, is_mobile=True)
    one.known_as(world.annotator)
    page = one.begin(started(world))
    assert page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]") == [
        width,
        height,
    ]
    assert overlapping(page) == []
    easel = page.locator("#easel").bounding_box()
    assert easel["width"] * easel["height"] > 0.45 * width * height
    page.get_by_role("button", name="Start empty").tap()
    tool(page, "Outline")
    session = one.context.new_cdp_session(page)
    hand = Easel(page)
    for corner in [*KITE, KITE[0]]:
        touch(session, "touchStart", [hand.at(*corner)])
        touch(session, "touchEnd", [])
    assert_outline(sent(page), KITE)


def test_twelve_megapixels_are_painted_saved_and_decoded(ada, world):
    width, height = 4000, 3000
    stream = io.BytesIO()
    Pillow.new("RGB", (width, height), (120, 130, 90)).save(stream, "PNG")
    image = world.images[0]
    image.pk = None
    image.name, image.sha256, image.width, image.height = "large.png", "f" * 64, width, height
    image.uuid = type(image)._meta.get_field("uuid").get_default()
    image.file.save("large.png", ContentFile(stream.getvalue()), save=False)
    image.save(force_insert=True)
    ImageLabel.objects.create(image=image, index=0)
    world.images[:] = [image]
    page = ada.begin(world.map_drawing())
    box = page.locator("#easel").bounding_box()
    scale = look(page, "desk.view.scale")
    left, top = (box["x"] + box["width"] / 2 - width * scale / 2, box["y"] + box["height"] / 2 - height * scale / 2)
    page.mouse.move(left + 500 * scale, top + 500 * scale)
    page.mouse.down()
    page.mouse.move(left + 3500 * scale, top + 2500 * scale, steps=20)
    page.mouse.up()
    diameter = look(page, "desk.history.strokes[0].s")
    held = look(page, "Object.values(probe.bytes).reduce((a, b) => a + b)")
    assert held <= 60 * 2**20
    before = page.url
    page.locator("#send").click()
    page.wait_for_url(lambda url: url != before)
    with DrawnMap.objects.get().file.open("rb") as kept:
        mask = np.asarray(Pillow.open(kept)) == 1
    assert mask.shape == (height, width)
    length = np.hypot(3000, 2000)
    assert mask.sum() == pytest.approx(length * diameter + np.pi * diameter**2 / 4, rel=0.01)
    ends = [mask[500, 500], mask[1500, 2000], mask[2500, 3500]]
    assert all(ends)
    assert not mask[500, 3500]
