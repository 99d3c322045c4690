"""Preference in Chromium: one press or one key a trial, by mouse, keyboard and touch; the scale; and a way back."""

import pytest

from annotation.making import TrialItem, add_trials
from annotation.models import Answer, Assignment, Judgement
from annotation.publishing import create_study, publish
from tests.browser.conftest import ready
from tests.browser.test_accessibility import AXE, MODES, RUN
from tests.browser.world import make_world

KEYS = "#answer-form label"


@pytest.fixture
def world():
    return make_world(images=3, classifiers=2)


@pytest.fixture
def ada(person, world):
    one = person()
    one.known_as(world.annotator)
    yield one
    one.page.wait_for_load_state("networkidle")  # nothing is on its way to the database that is emptied next


def gone_on(page, act) -> str:
    """Does something that answers; returns once the next page takes answers."""
    before = page.url
    act()
    page.wait_for_url(lambda url: url != before)
    return before


def said(study) -> list[tuple[str, int | None]]:
    """What was answered, trial by trial: the side that was chosen, or neither."""
    found = []
    for answer in Answer.objects.filter(assignment__trial__study=study).order_by("pk"):
        judgement = answer.judgements.get()
        slot = judgement.stimulus.slot if judgement.stimulus else None
        found.append("neither" if slot is None else ("left", "right")[answer.assignment.order.index(slot)])
    return found


def sheets(page) -> list[str]:
    """Pictures of what is drawn: picture, left map, right map."""
    return page.evaluate("[...document.querySelectorAll('.pair canvas')].map((one) => one.toDataURL())")


def test_by_mouse_a_press_on_a_map_answers_on_release_and_goes_on(ada, world):
    study = world.preference()
    page = ada.open("/")
    page.get_by_role("link", name="Start").click()
    ready(page)
    assert page.locator("#answer-form input:checked").count() == 0, "nothing is preselected"
    assert not page.locator("#send").is_visible(), "one press is enough"
    page.get_by_role("img", name="Map B").hover()
    page.mouse.down()
    page.wait_for_timeout(100)
    assert Answer.objects.count() == 0, "not before release"
    gone_on(page, page.mouse.up)
    ready(page)
    gone_on(page, lambda: page.get_by_role("img", name="Map A").click())
    ready(page)
    gone_on(page, lambda: page.locator(KEYS).filter(has_text="Neither").click())
    page.get_by_text("That was the last one").wait_for()
    assert said(study) == ["right", "left", "neither"]
    answers = Answer.objects.order_by("pk")
    assert all(answer.duration_ms > 0 for answer in answers)
    lines = [line[1:] for line in answers[0].events]
    assert ["change", "choice", "b"] in lines
    assert lines[0] == ["shown"]


@pytest.mark.parametrize("keys", [("1", "2", "3"), ("ArrowLeft", "ArrowDown", "ArrowRight")])
def test_by_keyboard_alone_one_key_a_trial(ada, world, keys):
    study = world.preference()
    page = ada.begin(study)
    for key in keys:
        ready(page)
        gone_on(page, lambda key=key: page.keyboard.press(key))
    page.get_by_text("That was the last one").wait_for()
    assert said(study) == ["left", "neither", "right"]


def test_with_tab_and_space_and_no_choice_by_moving_about(ada, world):
    study = world.preference()
    page = ada.begin(study)
    page.locator("[name=choice]").first.focus()
    page.keyboard.press("ArrowUp")  # would choose another radio button by itself
    page.keyboard.press("x")
    assert page.locator("#answer-form input:checked").count() == 0
    page.keyboard.press("Enter")
    page.get_by_text("One question is still open.").wait_for()
    assert Answer.objects.count() == 0
    page.locator("[name=choice][value=neither]").focus()
    gone_on(page, lambda: page.keyboard.press("Space"))
    assert said(study) == ["neither"]


def test_by_touch(person, world):
    study = world.preference()
    finger = person(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    finger.known_as(world.annotator)
    page = finger.begin(study)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    sizes = page.evaluate(
        "[...document.querySelectorAll('button, .keys label > span, .three label > span, a')]"
        ".filter(e => e.offsetParent).map(e => e.getBoundingClientRect()).filter(r => r.width > 1)"
        ".map(r => Math.min(r.width, r.height))"
    )
    assert min(sizes) >= 44, "what is pressed is at least 44 px"
    gone_on(page, lambda: page.get_by_role("img", name="Map A").tap())
    ready(page)
    gone_on(page, lambda: page.locator(KEYS).last.tap())
    ready(page)
    page.get_by_role("link", name="Previous answer").tap()
    ready(page)
    assert page.locator("#answer-form input:checked").get_attribute("value") == "b"
    assert said(study) == ["left", "right"]


def test_both_maps_are_of_one_size_and_the_largest_things(ada, world):
    page = ada.begin(world.preference(settings={"shown_class": "true"}))
    for width, height in ((360, 740), (768, 1024), (1100, 760), (1440, 900), (1920, 700)):
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate("new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
        picture, left, right = page.evaluate(
            "[...document.querySelectorAll('.pair canvas')].map((one) => one.getBoundingClientRect().toJSON())"
        )
        assert (left["width"], left["height"], left["top"]) == (right["width"], right["height"], right["top"])
        assert left["right"] <= right["left"]
        assert picture["width"] < left["width"]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        bar = page.locator(".answer-bar").bounding_box()
        assert left["bottom"] <= bar["y"], "the maps are seen whole"
        assert picture["top"] >= 48
        keys = [page.locator(KEYS).nth(place).bounding_box() for place in (0, 2)]
        for key, plate in zip(keys, (left, right), strict=True):
            middle = key["x"] + key["width"] / 2
            assert plate["left"] < middle < plate["right"], "each key stands under its map"


def test_backspace_leads_back_and_the_answer_can_be_changed(ada, world):
    study = world.preference()
    page = ada.begin(study)
    page.keyboard.press("Backspace")  # there is nothing before the first
    first = gone_on(page, lambda: page.keyboard.press("1"))
    ready(page)
    gone_on(page, lambda: page.keyboard.press("Backspace"))
    ready(page)
    page.wait_for_url(first)
    assert page.locator("#answer-form input:checked").get_attribute("value") == "a"
    gone_on(page, lambda: page.keyboard.press("3"))
    page.wait_for_url("**/answers/")
    page.get_by_text("the right map").wait_for()
    assert Answer.objects.get().revision == 2
    assert said(study) == ["right"]


def test_a_reload_keeps_the_sides(ada, world):
    page = ada.begin(world.preference())
    order, before = Assignment.objects.get().order, sheets(page)
    page.reload()
    ready(page)
    assert sheets(page) == before
    assert Assignment.objects.get().order == order
    assert before[1] != before[2]


@pytest.mark.parametrize("act", ["double click", "two keys"])
def test_pressing_twice_is_one_answer(ada, world, act):
    study = world.preference()
    page = ada.begin(study)
    posts = []
    page.on("request", lambda request: posts.append(request.url) if request.url.endswith("/answer/") else None)
    page.route("**/answer/", lambda route: (page.wait_for_timeout(300), route.continue_()))

    def twice():
        if act == "double click":
            page.get_by_role("img", name="Map A").dblclick(no_wait_after=True)
        else:
            page.keyboard.press("1")
            page.keyboard.press("3")

    gone_on(page, twice)
    ready(page)
    assert len(posts) == 1
    assert said(study) == ["left"]


def test_the_scale_is_chosen_by_key_or_press_and_sent_by_enter(ada, world):
    page = ada.begin(world.preference(settings={"form": "slider"}))
    assert page.locator("#answer-form input:checked").count() == 0, "the middle is not an answer yet"
    page.keyboard.press("Enter")
    page.get_by_text("One question is still open.").wait_for()
    page.keyboard.press("4")
    page.keyboard.press("Backspace")
    assert page.locator("#answer-form input:checked").count() == 0, "taken back"
    page.keyboard.press("7")
    assert page.locator("#answer-form input:checked").get_attribute("value") == "3"
    gone_on(page, lambda: page.keyboard.press("Enter"))
    ready(page)
    page.get_by_role("radio", name="both maps fit equally well").check(force=True)
    gone_on(page, lambda: page.get_by_role("button", name="Send and next").click())
    ready(page)
    page.get_by_role("radio", name="the left map fits slightly better").focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowLeft")  # moves along the scale
    gone_on(page, lambda: page.keyboard.press("Enter"))
    page.get_by_text("That was the last one").wait_for()
    numbers = []
    for answer in Answer.objects.order_by("pk"):
        turned = 1 if answer.assignment.order == [0, 1] else -1
        numbers.append(turned * answer.judgements.get().number)
    assert numbers == [3, 0, -2]


def test_without_neither_there_are_two_keys_or_six_points(ada, world):
    page = ada.begin(world.preference(settings={"neither": False}))
    assert page.locator(KEYS).count() == 2
    page.keyboard.press("ArrowDown")
    assert page.locator("#answer-form input:checked").count() == 0
    gone_on(page, lambda: page.keyboard.press("2"))
    assert Judgement.objects.get().question == "chosen"
    page = ada.begin(world.preference(settings={"neither": False, "form": "slider"}))
    page.keyboard.press("7")
    assert page.locator("#answer-form input:checked").count() == 0
    page.keyboard.press("6")
    assert page.locator("#answer-form input:checked").get_attribute("value") == "3"
    assert page.locator("#answer-form input").count() == 6


def test_the_bare_picture_is_seen_as_long_as_something_is_held(ada, world):
    page = ada.begin(world.preference())
    picture, *maps = sheets(page)
    page.keyboard.down("o")
    assert sheets(page) == [picture] * 3
    page.keyboard.up("o")
    assert sheets(page) == [picture, *maps]
    button = page.get_by_role("button", name="Bare picture")
    button.hover()
    page.mouse.down()
    assert sheets(page) == [picture] * 3
    page.mouse.up()
    assert sheets(page) == [picture, *maps]
    button.focus()
    page.keyboard.down("Space")
    assert sheets(page) == [picture] * 3
    page.keyboard.up("Space")
    assert sheets(page) == [picture, *maps]
    assert Answer.objects.count() == 0


def test_the_view_is_the_persons_unless_the_study_fixes_it(ada, world):
    page = ada.begin(world.preference(images=1))
    overlay = sheets(page)
    page.keyboard.press("v")
    assert sheets(page)[1:] != overlay[1:]
    page.locator("label:has(input[value=contour])").click()
    page.get_by_label("Strength of the map").focus()
    page.keyboard.press("ArrowLeft")  # the slider's own key, not an answer
    page.wait_for_timeout(200)
    assert Answer.objects.count() == 0
    lines = sheets(page)
    page = ada.begin(world.preference(settings={"change_view": False}, images=1))
    fixed = sheets(page)
    page.keyboard.press("v")
    assert sheets(page) == fixed, "neither a key nor what was chosen elsewhere changes it"
    assert sorted(fixed) == sorted(overlay)
    assert sorted(fixed) != sorted(lines)


def test_practice_says_what_was_right_and_waits_to_be_read(ada, world):
    study = create_study(
        kind="preference", name="With practice", title="Which map?", owner=None, image_set=world.image_set,
        images=world.images[:1], explanation_sets=world.sets,
    )  # fmt: skip
    add_trials(
        study, None, "practice", [TrialItem(world.images[2], gold={"choice": "second"}, feedback="See the edge.")]
    )
    page = ada.begin(publish(study, None))
    order = Assignment.objects.get().order
    side = ("left", "right")[order.index(1)]
    page.keyboard.press("2")
    page.get_by_text(f"The {side} map fits better. See the edge.").wait_for()
    page.wait_for_function(
        "() => document.querySelector('.pair .left figcaption').getBoundingClientRect().bottom"
        " <= document.querySelector('.answer-bar').getBoundingClientRect().top"
    )  # the maps make room for the sentence
    page.keyboard.press("1")
    page.wait_for_timeout(800)
    assert said(study) == ["neither"], "the answer stands"
    gone_on(page, lambda: page.keyboard.press("Enter"))
    ready(page)
    gone_on(page, lambda: page.keyboard.press("1"))
    assert said(study) == ["neither", "left"]


def test_nothing_that_the_browser_gets_names_a_condition_or_tells_by_size(ada, world):
    heard = []
    ada.page.on("response", lambda response: heard.append(response))
    ada.begin(world.preference())
    # Those of the next trials may have come already; each trial's maps are equal among themselves.
    own = ada.page.evaluate("JSON.parse(document.getElementById('trial').textContent).urls.maps")
    maps = [one for one in heard if any(one.url.endswith(url) for url in own)]
    assert len(maps) == 2
    assert len({len(one.body()) for one in maps}) == 1
    assert len({str(sorted((k, v) for k, v in one.headers.items() if k != "date")) for one in maps}) == 1
    for one in heard:
        told = one.url + str(one.headers)
        if "html" in one.headers.get("content-type", "") and one.status == 200:
            told += one.text()
        assert "secret-model" not in told
        assert "grad_cam" not in told


@pytest.mark.parametrize(("mode", "width"), [("light", 1200), ("dark", 360), ("contrast", 768)])
def test_axe_finds_nothing_on_the_scale(person, world, mode, width):
    """The choice is looked at with every other page in test_accessibility."""
    one = person(viewport={"width": width, "height": 760}, **MODES[mode])
    one.known_as(world.annotator)
    page = one.begin(world.preference(settings={"form": "slider", "change_view": False}))
    page.keyboard.press("Enter")
    page.get_by_text("One question is still open.").wait_for()
    page.evaluate(AXE)
    assert page.evaluate(RUN, mode == "contrast") == []
    page.keyboard.press("6")
    page.keyboard.press("?")
    assert page.evaluate(RUN, mode == "contrast") == []
