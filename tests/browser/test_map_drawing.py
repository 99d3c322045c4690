"""The drawing editor in Chromium: what is painted is what arrives, pixel for pixel, by mouse, keys, fingers and pen."""

import numpy as np
import pytest

from annotation.models import Answer, Draft, DrawnMap
from tests.browser.conftest import ready
from tests.browser.easel import Easel, assert_capsule, segment, sent, size, stored, touch
from tests.browser.world import HEIGHT, WIDTH, make_world


@pytest.fixture
def world():
    return make_world(images=2, classifiers=0)


@pytest.fixture
def ada(person, world):
    one = person()
    one.known_as(world.annotator)
    return one


def test_painted_pixels_are_where_the_mouse_went(ada, world):
    study = world.map_drawing()
    page = ada.begin(study)
    easel = Easel(page)
    size(page, 12)
    easel.stroke((30, 20), (90, 60))
    assert_capsule(sent(page), (30, 20, 90, 60), 6)
    answer = Answer.objects.get()
    assert answer.drawn_map.strokes[0]["t"] == "b"
    assert answer.drawn_map.strokes[0]["p"][:2] == [30, 20]
    assert answer.duration_ms > 0


def test_a_dot_of_one_pixel_is_that_pixel(ada, world):
    page = ada.begin(world.map_drawing())
    easel = Easel(page)
    size(page, 1)
    easel.stroke((101.5, 7.5))
    mask = sent(page)
    assert np.argwhere(mask).tolist() == [[7, 101]]


def test_erase_undo_redo_and_clear_by_mouse(ada, world):
    page = ada.begin(world.map_drawing())
    easel = Easel(page)
    size(page, 20)
    easel.stroke((30, 40), (100, 40))
    page.get_by_role("button", name="Erase").click()
    easel.stroke((65, 10), (65, 80))
    page.get_by_role("button", name="Paint").click()
    easel.stroke((20, 80))
    page.get_by_role("button", name="Undo").click()  # the dot
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Undo").click()  # the clearing
    page.get_by_role("button", name="Undo").click()  # the erasing
    page.get_by_role("button", name="Redo").click()
    mask = sent(page)
    row, column = segment(30, 40, 100, 40), segment(65, 10, 65, 80)
    assert mask[(row < 9) & (column > 11)].all()
    assert not mask[column < 9].any()
    assert not mask[(row > 11)].any()
    assert [stroke["t"] for stroke in DrawnMap.objects.get().strokes] == ["b", "e"]


def test_by_keyboard_alone(ada, world):
    page = ada.begin(world.map_drawing())
    size(page, 9)
    page.locator("#send").focus()
    for _ in range(40):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.id") == "easel":
            break
    assert page.locator(".ring.cross").is_visible(), "the crosshair shows where the brush is"
    page.keyboard.down(" ")
    for _ in range(5):
        page.keyboard.press("ArrowRight")  # a third of the brush each: 15 pixels
    page.keyboard.up(" ")
    for _ in range(10):
        page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    page.keyboard.press("z")
    page.keyboard.press("x")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+z")
    page.keyboard.press("e")
    for _ in range(10):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("]")
    page.keyboard.press(" ")
    page.keyboard.press("z")  # the erasing is taken back
    before = page.url
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: url != before)
    mask = stored(DrawnMap.objects.get().file)
    middle = (WIDTH / 2, HEIGHT / 2)
    line = segment(*middle, middle[0] + 15, middle[1])
    dot = segment(middle[0] + 15, middle[1] + 30, middle[0] + 15, middle[1] + 30)
    assert mask[(line < 3.7) | (dot < 3.7)].all()
    assert not mask[(line > 5.3) & (dot > 5.3)].any()


def test_one_finger_paints_and_two_zoom_without_a_trace(person, world):
    study = world.map_drawing()
    finger = person(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    finger.known_as(world.annotator)
    page = finger.begin(study)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    easel = Easel(page)
    size(page, 14)
    session = finger.context.new_cdp_session(page)
    touch(session, "touchStart", [easel.at(40, 30)])
    for step in range(1, 9):
        touch(session, "touchMove", [easel.at(40 + 5 * step, 30 + 4 * step)])
    touch(session, "touchEnd", [])
    read = page.locator("#zoom-read").evaluate("node => node.value")
    middle = easel.at(66, 48)
    touch(session, "touchStart", [(middle[0] - 20, middle[1])])
    touch(session, "touchStart", [(middle[0] - 20, middle[1]), (middle[0] + 20, middle[1])])
    for far in (30, 45, 60):
        touch(session, "touchMove", [(middle[0] - far, middle[1]), (middle[0] + far, middle[1])])
    touch(session, "touchEnd", [])
    page.wait_for_function("read => document.getElementById('zoom-read').value !== read", arg=read)
    assert_capsule(sent(page), (40, 30, 80, 62), 7)


def test_a_pen_paints_and_its_other_end_erases(ada, world):
    page = ada.begin(world.map_drawing())
    easel = Easel(page)
    size(page, 16)
    pen = """([x, y, buttons]) => {
      const easel = document.getElementById('easel');
      easel.setPointerCapture = () => {};
      for (const type of ['pointerdown', 'pointermove', 'pointerup']) {
        easel.dispatchEvent(new PointerEvent(type, { pointerId: 9, pointerType: 'pen', bubbles: true,
          clientX: x, clientY: y, buttons: type === 'pointerup' ? 0 : buttons, pressure: 0.5 }));
      }
    }"""
    page.evaluate(pen, [*easel.at(40, 40), 1])
    page.evaluate(pen, [*easel.at(90, 40), 1])
    page.evaluate(pen, [*easel.at(90, 40), 32])
    assert_capsule(sent(page), (40, 40, 40, 40), 8)


def test_zoomed_in_the_same_place_is_still_the_same_pixel(ada, world):
    page = ada.begin(world.map_drawing())
    easel = Easel(page)
    size(page, 1)
    page.mouse.move(*easel.at(50.5, 33.5))
    for _ in range(4):
        page.mouse.wheel(0, -300)
    page.mouse.down()
    page.mouse.up()
    assert np.argwhere(sent(page)).tolist() == [[33, 50]]


def test_a_reload_brings_the_drawing_back_from_this_device_and_from_the_server(ada, person, world):
    study = world.map_drawing()
    page = ada.begin(study)
    size(page, 10)
    Easel(page).stroke((20, 20), (60, 20))
    page.locator("#saved[data-state=saved]").wait_for()
    assert_capsule(stored(Draft.objects.get().file), (20, 20, 60, 20), 5)
    page.reload()
    ready(page)
    page.get_by_text("Your unfinished work is back").wait_for()
    other = person()  # another device: nothing in its browser
    other.known_as(world.annotator)
    elsewhere = other.begin(study)
    elsewhere.get_by_text("Your unfinished work is back").wait_for()
    size(elsewhere, 10)
    Easel(elsewhere).stroke((20, 60), (60, 60))
    mask = sent(elsewhere)
    far = np.minimum(segment(20, 20, 60, 20), segment(20, 60, 60, 60))
    assert mask[far < 4.2].all()
    assert not mask[far > 5.8].any()
    assert Draft.objects.count() == 0
    assert len(DrawnMap.objects.get().strokes) == 2


def test_an_answered_drawing_is_shown_again_and_changed(ada, world):
    study = world.map_drawing()
    page = ada.begin(study)
    size(page, 10)
    Easel(page).stroke((20, 20), (60, 20))
    first = sent(page)
    ada.open(f"/studies/{study.uuid}/answers/")
    page.get_by_role("listitem").get_by_role("link").click()
    ready(page)
    size(page, 10)
    Easel(page).stroke((20, 70), (60, 70))
    both = sent(page)
    assert (both & first).sum() == first.sum()
    assert both.sum() > first.sum()
    assert Answer.objects.get().revision == 2


def test_nothing_to_mark_is_an_answer_and_an_empty_picture_is_not(ada, world):
    page = ada.begin(world.map_drawing())
    page.locator("#send").click()
    page.get_by_text("Nothing is painted yet").wait_for()
    assert Answer.objects.count() == 0
    page.get_by_label("I see nothing to mark").check()
    before = page.url
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: url != before)
    assert Answer.objects.get().judgements.get(question="nothing").truth is True
    assert DrawnMap.objects.count() == 0


def test_pressing_twice_is_one_answer_and_two_tabs_make_one_answer(ada, world):
    study = world.map_drawing()
    first = ada.begin(study)
    second = ada.tab()
    ada.begin(study, second)
    ada.expected.append("409")
    size(first, 10)
    Easel(first).stroke((20, 20), (60, 20))
    before = first.url
    first.locator("#send").dblclick()
    first.wait_for_url(lambda url: url != before)
    assert Answer.objects.count() == 1
    size(second, 10)
    Easel(second).stroke((20, 80), (60, 80))
    second.locator("#send").click()
    second.get_by_text("You answered this one in another window").wait_for()
    second.get_by_role("button", name="Go on").click()
    second.wait_for_url(lambda url: url != before)
    answer = Answer.objects.get()
    assert answer.revision == 1
    assert_capsule(stored(answer.drawn_map.file), (20, 20, 60, 20), 5)


def test_signing_out_leaves_nothing_on_the_device(ada, world):
    page = ada.begin(world.map_drawing())
    Easel(page).stroke((20, 20), (60, 20))
    page.locator("#saved[data-state=saved]").wait_for()
    kept = """() => new Promise((done) => {
      const open = indexedDB.open('harmony', 1);
      open.onsuccess = () => {
        const all = open.result.transaction('work').objectStore('work').getAll();
        all.onsuccess = () => { open.result.close(); done(all.result.length); };
      };
    })"""
    assert page.evaluate(kept) == 1
    ada.open("/")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login/")
    assert page.evaluate(kept) == 0
