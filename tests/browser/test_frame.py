"""The frame of every trial in Chromium, on a kind that is only a form: answers and drafts."""

import pytest

from annotation.models import Answer, AnswerRevision, Draft
from tests.browser.conftest import ready
from tests.browser.plain_pages import COMPLETE, KEEP, RECORDS, answered, fill, live_studies
from tests.browser.world import make_world


@pytest.fixture
def world():
    return make_world(images=3, classifiers=1)


@pytest.fixture
def plain(world, settings):
    """Makes live studies of the plain kind."""
    yield from live_studies(world, settings)


@pytest.fixture
def ada(person, world):
    one = person()
    one.known_as(world.annotator)
    return one


def test_a_form_becomes_the_answer_that_its_names_and_types_say(ada, plain):
    page = ada.begin(plain())
    assert page.evaluate("document.querySelectorAll('#answer-form :checked[type=radio]').length") == 0
    fill(page)
    page.get_by_label("Remark").fill("A “fish”.")
    before = page.url
    page.get_by_role("button", name="Send and next").click()
    page.wait_for_url(answered(before))
    assert AnswerRevision.objects.get().payload["answer"] == COMPLETE | {"remark": "A “fish”."}


def test_what_is_open_is_said_where_it_stands_and_takes_the_focus(ada, plain):
    page = ada.begin(plain())
    marks = "document.querySelector('.missing')?.textContent.trim().split(/\\s+/)[0]"
    steps = [
        ("Good?", lambda: page.keyboard.press("y")),
        ("Certain?", lambda: page.keyboard.press("y")),
        ("Kind", lambda: page.get_by_label("Kind").select_option("bird")),
        ("How", lambda: page.get_by_label("How many?").fill("12")),
    ]
    for first, do in steps:
        page.locator("#send").click()
        page.get_by_text("One question is still open.").wait_for()
        assert page.evaluate(marks) == first
        assert page.evaluate("document.querySelector('.missing').contains(document.activeElement)")
        do()
    page.locator("#send").click()
    page.locator("#note").get_by_text("9").wait_for()  # the browser's own words: at most 9
    assert page.get_by_label("How many?").get_attribute("aria-invalid") == "true"
    page.get_by_label("How many?").fill("9")
    page.locator("#send").click()
    assert page.evaluate("document.activeElement.name") == "sharp", "a slider says nothing until it was touched"
    page.keyboard.press("ArrowRight")
    page.locator("#send").click()
    assert page.evaluate("document.activeElement.name") == "seen", "a tick box that is not optional has to be ticked"
    assert Answer.objects.count() == 0


def test_keys_choose_for_the_next_open_question_and_backspace_takes_back(ada, plain):
    page = ada.begin(plain())
    chosen = "[...document.querySelectorAll('#answer-form input:checked')].map(o => `${o.name}=${o.value}`).join()"
    page.keyboard.press("y")
    assert page.evaluate(chosen) == "maps.0.good=yes"
    page.keyboard.press("n")
    assert page.evaluate(chosen) == "maps.0.good=yes,certain=no"
    page.keyboard.press("x")
    assert page.evaluate(chosen) == "maps.0.good=yes,certain=no,odd=on"
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    assert page.evaluate(chosen) == "maps.0.good=yes"
    page.get_by_label("Remark").fill("")
    page.keyboard.press("y")
    assert page.get_by_label("Remark").input_value() == "y", "letters belong to the text while one writes"
    assert page.evaluate(chosen) == "maps.0.good=yes"


def test_shortcuts_can_be_switched_off_on_this_device(ada, plain):
    page = ada.begin(plain())
    chosen = page.locator("#answer-form input:checked")
    page.keyboard.press("?")
    switch = page.get_by_role("switch", name="Shortcuts on")
    switch.click()
    assert switch.get_attribute("aria-checked") == "false"
    page.keyboard.press("Escape")
    page.keyboard.press("y")
    page.keyboard.press("?")
    assert chosen.count() == 0
    assert not page.get_by_role("dialog").is_visible()
    page.keyboard.press("ArrowUp")
    assert chosen.count() == 1, "keys that write no character stay"
    page.reload()
    page.on("dialog", lambda dialog: dialog.accept())
    ready(page)
    page.keyboard.press("n")
    assert chosen.count() == 1
    page.get_by_role("button", name="Help and keys").click()
    switch.click()
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    assert chosen.count() == 2


def test_the_map_is_shown_as_the_study_says_and_o_held_bares_the_picture(ada, plain):
    page = ada.begin(plain())
    canvas = "document.querySelector('canvas').toDataURL()"
    assert page.evaluate("document.querySelector('img[data-picture]').naturalWidth") == 132
    shown = page.evaluate(canvas)
    page.keyboard.down("o")
    bare = page.evaluate(canvas)
    page.keyboard.up("o")
    assert bare != shown == page.evaluate(canvas)


@pytest.mark.parametrize(("gold", "tone"), [("no", "good"), ("yes", "warn")])
def test_practice_says_what_was_right_and_goes_on_only_then(ada, plain, gold, tone):
    page = ada.begin(plain(practice={"certain": gold}))
    before = page.url
    fill(page)
    page.keyboard.press("Enter")
    told = "Nobody can be certain here." if gold == "no" else "One can be certain here."
    page.get_by_text(f"{told} Mind the wing.").wait_for()
    assert page.locator(f"#note.{tone} svg:visible").count() == 1
    assert page.locator("[role=status]:has(#note:not([hidden]))").count() == 1
    assert page.get_by_label("How many?").is_disabled()
    page.keyboard.press("y")
    assert page.url == before
    assert page.locator("input[name=certain]:checked").get_attribute("value") == "no", "the answer stands as it was"
    assert page.get_by_role("button", name="Next").is_visible()
    page.wait_for_timeout(400)
    page.keyboard.press("Enter")
    page.wait_for_url(answered(before))
    ready(page)
    assert page.locator("#note").is_hidden()
    assert Answer.objects.get().correct is (gold == "no")


def test_a_double_press_does_not_skip_what_practice_says(ada, plain):
    page = ada.begin(plain(practice={"certain": "yes"}))
    before = page.url
    fill(page)
    page.locator("#send").dblclick(delay=60)
    page.get_by_text("One can be certain here.").wait_for()
    page.wait_for_timeout(300)
    assert page.url == before
    page.wait_for_timeout(200)
    page.get_by_role("button", name="Next").click()
    page.wait_for_url(answered(before))
    assert Answer.objects.count() == 1


# --- drafts -------------------------------------------------------------------------------------------------------


def test_a_page_that_goes_hands_its_draft_to_the_server(ada, plain, person, world):
    study = plain()
    page = ada.begin(study)
    page.on("dialog", lambda dialog: dialog.accept())  # "leave this page?": the server has not got it yet
    page.keyboard.press("y")
    page.wait_for_timeout(100)
    page.goto(ada.address + "/")
    page.wait_for_timeout(300)
    assert Draft.objects.get().payload["maps"] == [{"position": 0, "good": True}]
    elsewhere = person()
    elsewhere.known_as(world.annotator)
    other = elsewhere.begin(study)
    other.get_by_text("Your unfinished work is back").wait_for()
    assert other.locator("input[name='maps.0.good']:checked").get_attribute("value") == "yes"


def test_a_draft_too_large_to_be_handed_over_stays_on_the_device(ada, plain):
    page = ada.begin(plain())
    page.route("**/draft/", lambda route: route.abort())
    ada.expected.append("ERR_FAILED")
    sent = []
    page.on("request", lambda request: sent.append(request.method) if request.url.endswith("/draft/") else None)
    page.get_by_label("Remark").fill("a" * 61_000)
    page.get_by_label("Remark").blur()
    page.wait_for_timeout(200)
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    ready(page)
    assert "POST" not in sent
    assert len(page.get_by_label("Remark").input_value()) == 61_000


def test_reload_brings_every_control_back(ada, plain):
    page = ada.begin(plain())
    fill(page)
    page.get_by_label("Remark").fill("A wing")
    page.locator("#saved[data-state=saved]").wait_for()
    page.reload()
    ready(page)
    before = page.url
    page.locator("#send").click()
    page.wait_for_url(answered(before))
    assert AnswerRevision.objects.get().payload["answer"] == COMPLETE | {"remark": "A wing"}


def test_work_of_someone_else_on_this_device_is_neither_shown_nor_lost(ada, plain):
    page = ada.begin(plain())
    page.keyboard.press("y")
    page.locator("#saved[data-state=saved]").wait_for()
    [record] = page.evaluate(RECORDS)
    Draft.objects.all().delete()
    page.evaluate(KEEP, record | {"participant": "5f0c7a8e-0000-4000-8000-000000000009", "user": "999999"})
    page.reload()
    ready(page)
    assert page.locator("#answer-form input:checked").count() == 0
    ada.open("/")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login/")
    assert [row["user"] for row in page.evaluate(RECORDS)] == ["999999"]


def test_signing_out_leaves_nothing_and_a_month_is_the_longest(ada, plain):
    page = ada.begin(plain())
    page.keyboard.press("y")
    page.locator("#saved[data-state=saved]").wait_for()
    [record] = page.evaluate(RECORDS)
    day = 24 * 60 * 60 * 1000
    for days in (29, 31):
        page.evaluate(KEEP, record | {"assignment": f"of {days} days", "at": record["at"] - days * day})
    ada.open("/")
    page.wait_for_function(f"async () => (await ({RECORDS})()).length === 2")
    assert {row["assignment"] for row in page.evaluate(RECORDS)} == {record["assignment"], "of 29 days"}
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login/")
    assert page.evaluate(RECORDS) == []
