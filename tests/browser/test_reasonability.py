"""Reasonability in Chromium: mouse, keyboard, touch; reload, double click, two tabs; exactly one answer a trial."""

import pytest

from annotation.models import Answer, Assignment, Judgement
from tests.browser.conftest import ready
from tests.browser.world import make_world


@pytest.fixture
def world():
    return make_world(images=2, classifiers=3)


@pytest.fixture
def ada(person, world):
    one = person()
    one.known_as(world.annotator)
    return one


def values(answer: Answer) -> list[tuple[int, str, object]]:
    return sorted((row.stimulus.slot, row.question, row.value) for row in answer.judgements.all())


def choice(page, question: str, word: str):
    return page.locator(f"fieldset:not([hidden]) [data-question={question}] label:has(input[value='{word.lower()}'])")


def choose(page, question: str, word: str) -> None:
    choice(page, question, word).click()


def test_the_whole_study_by_mouse_gives_one_answer_a_trial(ada, world):
    study = world.reasonability(maps=1)
    page = ada.open("/")
    page.get_by_role("link", name="Start").click()
    ready(page)
    assert page.locator("input:checked:not([name=view])").count() == 0, "nothing is preselected"
    for number in (4, 2):
        ready(page)
        before = page.url
        choose(page, "necessary", "Yes")
        choose(page, "unnecessary", "No")
        choose(page, "quality", str(number))
        page.get_by_role("button", name="Send and next").click()
        page.wait_for_url(lambda url, before=before: url != before)
    page.get_by_text("That was the last one").wait_for()
    answers = Answer.objects.filter(assignment__trial__study=study).order_by("pk")
    assert [values(answer) for answer in answers] == [
        [(0, "necessary", True), (0, "quality", float(number)), (0, "unnecessary", False)] for number in (4, 2)
    ]
    assert all(answer.duration_ms > 0 for answer in answers)
    assert answers[0].events[0][1] == "shown"


def test_three_maps_by_keyboard_alone(ada, world):
    study = world.reasonability(maps=3)
    page = ada.begin(study)
    order = Assignment.objects.get().order
    for keys in ("y n 5 ]", "n y 1 ]", "y y 3"):
        for key in keys.split():
            page.keyboard.press(key)
    before = page.url
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: url != before)
    given = [[True, 5.0, False], [False, 1.0, True], [True, 3.0, True]]
    expected = sorted(
        (order[place], question, value)
        for place, said in enumerate(given)
        for question, value in zip(("necessary", "quality", "unnecessary"), said, strict=True)
    )
    assert values(Answer.objects.get()) == expected


def test_keys_answer_the_marked_question_also_after_a_click(ada, world):
    page = ada.begin(world.reasonability(maps=2))
    choose(page, "necessary", "Yes")  # the focus is on the first question now
    page.keyboard.press("n")
    chosen = "fieldset:not([hidden]) [data-question={}] input:checked"
    assert page.locator(chosen.format("necessary")).get_attribute("value") == "yes"
    assert page.locator(chosen.format("unnecessary")).get_attribute("value") == "no"
    page.keyboard.press("]")
    page.keyboard.press("y")
    assert page.locator(chosen.format("necessary")).get_attribute("value") == "yes"
    assert page.locator(chosen.format("unnecessary")).count() == 0
    page.keyboard.press("Backspace")
    assert page.locator(chosen.format("necessary")).count() == 0, "taken back"


def test_an_open_question_is_named_and_nothing_is_sent(ada, world):
    page = ada.begin(world.reasonability(maps=2))
    for key in ("y", "n", "2", "Enter"):  # the second map is left
        page.keyboard.press(key)
    assert page.locator("[data-about='1']").is_visible(), "Enter goes on to the map that is open"
    page.keyboard.press("Enter")
    page.get_by_text("Map 2 has an open question.").wait_for()
    assert Answer.objects.count() == 0


def test_by_touch(person, world):
    study = world.reasonability(maps=1)
    finger = person(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    finger.known_as(world.annotator)
    page = finger.begin(study)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for question, word in (("necessary", "No"), ("unnecessary", "Yes"), ("quality", "1")):
        choice(page, question, word).tap()
    sizes = page.evaluate(
        "[...document.querySelectorAll('button, .keys span, a')].filter(e => e.offsetParent && !e.closest('kbd'))"
        ".map(e => e.getBoundingClientRect()).filter(r => r.width > 1).map(r => Math.min(r.width, r.height))"
    )
    assert min(sizes) >= 44, "what is pressed is at least 44 px"
    before = page.url
    page.get_by_role("button", name="Send and next").tap()
    page.wait_for_url(lambda url: url != before)
    assert values(Answer.objects.get()) == [(0, "necessary", False), (0, "quality", 1.0), (0, "unnecessary", True)]


def test_a_reload_in_the_middle_brings_the_choices_back(ada, world):
    page = ada.begin(world.reasonability(maps=1))
    page.keyboard.press("y")
    page.keyboard.press("4")
    page.locator("#saved[data-state=saved]").wait_for()
    page.reload()
    ready(page)
    assert page.locator("[data-question=necessary] input:checked").get_attribute("value") == "yes"
    assert page.locator("[data-question=quality] input:checked").get_attribute("value") == "4"
    assert page.locator("[data-question=unnecessary] input:checked").count() == 0
    page.get_by_text("Your unfinished work is back").wait_for()


def test_a_reload_before_the_server_heard_of_it_brings_the_choices_back(ada, world):
    page = ada.begin(world.reasonability(maps=1))
    page.route("**/draft/", lambda route: route.abort())
    ada.expected.append(r"ERR_FAILED.*draft")
    page.on("dialog", lambda dialog: dialog.accept())  # "leave this page?": work is unsent
    page.keyboard.press("n")
    page.wait_for_timeout(300)
    page.reload()
    ready(page)
    assert page.locator("[data-question=necessary] input:checked").get_attribute("value") == "no"


def test_pressing_twice_is_one_answer(ada, world):
    page = ada.begin(world.reasonability(maps=1))
    for key in ("y", "n", "3"):
        page.keyboard.press(key)
    posts = []
    page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
    before = page.url
    page.locator("#send").dblclick()
    page.wait_for_url(lambda url: url != before)
    assert len(posts) == 1
    assert Answer.objects.count() == 1


def test_the_stale_one_of_two_tabs_shows_the_newer_answer_and_lets_choose(ada, world):
    study = world.reasonability(maps=1)
    first = ada.begin(study)
    second = ada.tab()
    ada.begin(study, second)
    assert first.url == second.url
    ada.expected.append("409")
    for key in ("y", "n", "5", "Enter"):
        first.keyboard.press(key)
    first.wait_for_url(lambda url: url != second.url)
    for key in ("n", "y", "1", "Enter"):
        second.keyboard.press(key)
    second.get_by_text("You answered this one in another window").wait_for()
    assert second.locator("[data-question=quality] input:checked").get_attribute("value") == "5"
    assert Answer.objects.get().revision == 1, "nothing was overwritten unasked"
    second.get_by_role("button", name="Use mine instead").click()
    second.wait_for_url("**/answers/")
    answer = Answer.objects.get()
    assert answer.revision == 2
    assert values(answer) == [(0, "necessary", False), (0, "quality", 1.0), (0, "unnecessary", True)]


def test_without_connection_the_answer_is_kept_and_sent_once(ada, world):
    page = ada.begin(world.reasonability(maps=1))
    ada.expected.append("ERR_INTERNET_DISCONNECTED")
    for key in ("y", "n", "4"):
        page.keyboard.press(key)
    page.locator("#saved[data-state=saved]").wait_for()
    before = page.url
    ada.context.set_offline(True)
    page.keyboard.press("Enter")
    page.get_by_text("No connection. Your answer is kept on this device and will be sent.").wait_for()
    assert Answer.objects.count() == 0
    ada.context.set_offline(False)
    page.wait_for_url(lambda url: url != before)
    assert Answer.objects.count() == 1


def test_an_answer_whose_acknowledgement_was_lost_is_sent_again_as_the_same_after_a_reload(ada, world):
    page = ada.begin(world.reasonability(maps=1))
    ada.expected.append("ERR_FAILED")
    for key in ("y", "n", "4"):
        page.keyboard.press(key)

    def lose(route):
        route.fetch()  # the server hears it, the browser never learns
        route.abort()

    page.route("**/answer/", lose, times=1)
    page.keyboard.press("Enter")
    page.get_by_text("No connection").wait_for()
    page.route("**/answer/", lambda route: route.abort())
    page.on("dialog", lambda dialog: dialog.accept())
    page.unroute("**/answer/")
    before = page.url
    page.reload()
    page.wait_for_url(lambda url: url != before)
    assert Answer.objects.count() == 1
    assert Answer.objects.get().revision == 1


def test_an_answer_is_changed_from_the_list_until_the_study_closes(ada, world):
    from annotation.publishing import close

    study = world.reasonability(maps=1)
    page = ada.begin(study)
    before = page.url
    for key in ("y", "n", "4", "Enter"):
        page.keyboard.press(key)
    page.wait_for_url(lambda url: url != before)
    ada.open(f"/studies/{study.uuid}/answers/")
    page.get_by_role("listitem").get_by_role("link").click()
    ready(page)
    assert page.locator("[data-question=quality] input:checked").get_attribute("value") == "4"
    page.keyboard.press("2")
    page.get_by_role("button", name="Send the change").click()
    page.wait_for_url("**/answers/")
    assert Answer.objects.get().revision == 2
    assert Judgement.objects.get(question="quality").number == 2
    page.get_by_role("listitem").get_by_role("link").click()
    ready(page)
    close(study, None)
    ada.expected.append("410")
    page.keyboard.press("5")
    page.keyboard.press("Enter")
    page.get_by_text("This study is closed").wait_for()
    assert Judgement.objects.get(question="quality").number == 2


def test_the_three_views_show_the_map_and_o_held_the_bare_picture(ada, world):
    page = ada.begin(world.reasonability(maps=1))
    shown = "[...document.querySelectorAll('.plate canvas')].map(c => c.toDataURL())"
    picture, overlay = page.evaluate(shown)
    page.keyboard.press("v")
    spotlight = page.evaluate(shown)[1]
    page.keyboard.press("v")
    lines = page.evaluate(shown)[1]
    assert len({picture, overlay, spotlight, lines}) == 4
    page.keyboard.down("o")
    assert page.evaluate(shown)[1] == picture
    page.keyboard.up("o")
    assert page.evaluate(shown)[1] == lines
    sizes = page.evaluate("[...document.querySelectorAll('.plate canvas')].map(c => `${c.width}x${c.height}`)")
    assert len(set(sizes)) == 1


def test_nothing_in_what_the_browser_gets_names_a_condition(ada, world):
    study = world.reasonability(maps=3)
    heard = []
    page = ada.page
    page.on("response", lambda response: heard.append(response))
    ada.begin(study)
    # Those of the next trials may have come already; each trial's maps are equal among themselves.
    own = page.evaluate("JSON.parse(document.getElementById('trial').textContent).urls.maps")
    maps = [one for one in heard if any(one.url.endswith(url) for url in own)]
    assert len(maps) == 3
    assert len({len(one.body()) for one in maps}) == 1, "all maps of a trial are of one length"
    for one in heard:
        text = one.url + str(one.headers)
        if "html" in one.headers.get("content-type", ""):
            text += one.text() if one.status == 200 else ""
        assert "secret-model" not in text
        assert "grad_cam" not in text


def test_brackets_work_where_a_keyboard_needs_another_key_for_them(ada, world):
    """On a German keyboard "]" is AltGr 9, which the browser reports as Ctrl and Alt."""
    page = ada.begin(world.reasonability(maps=2))
    held = "{ key: ']', ctrlKey: true, altKey: true, bubbles: true }"
    page.evaluate(f"document.dispatchEvent(new KeyboardEvent('keydown', {held}))")
    assert page.locator("fieldset[data-about]:not([hidden])").get_attribute("data-about") == "1"
