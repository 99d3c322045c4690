"""The pages around the trials in Chromium: signing in and out, home, themes, ends, and pages that are not there."""

from datetime import timedelta

import pytest
from django.utils import timezone

from annotation.answers import submit
from annotation.flow import enter, next_step
from annotation.models import Answer, Assignment
from annotation.people import add_annotator
from annotation.publishing import close
from tests.browser.world import PASSWORD, make_world

WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def world():
    return make_world(images=1, classifiers=1)


def test_signing_in_and_out(person, world):
    ada = person()
    page = ada.open("/")
    assert "/login/" in page.url, "nobody sees a study without signing in"
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("Name and password do not fit together").wait_for()
    assert page.get_by_label("Name").input_value() == "ada"
    ada.sign_in("ada", PASSWORD)
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login/")
    ada.open("/")
    assert "/login/" in page.url


def test_the_theme_follows_the_system_until_it_is_chosen_and_then_stays(person, world):
    ada = person(color_scheme="dark")
    ada.known_as(world.annotator)
    page = ada.open("/")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)

    def choose(name):
        page.get_by_role("button", name="Appearance").click()
        page.get_by_role("button", name=name).click()
        assert page.get_by_role("button", name=name).get_attribute("aria-pressed") == "true"
        page.keyboard.press("Escape")
        return page.evaluate(ground)

    light = choose("Light")
    assert light != dark
    page.reload()
    assert page.evaluate(ground) == light, "it is there before the first paint"
    assert choose("High contrast") == "oklch(0 0 0)", "black, where the system is dark"
    ada.begin(world.reasonability(), page)
    assert page.evaluate(ground) == "oklch(0 0 0)"
    page.emulate_media(color_scheme="light")
    assert page.evaluate(ground) == "oklch(1 0 0)"
    page.emulate_media(color_scheme="dark")
    assert choose("As the system") == dark
    page.emulate_media(contrast="more")
    assert page.evaluate(ground) == "oklch(0 0 0)", "the system may ask for it too"


def test_the_language_is_chosen_on_the_page_and_stays(person, world):
    ada = person(viewport={"width": 360, "height": 640})
    page = ada.open("/login/")
    assert page.locator("html").get_attribute("lang") == "en"
    page.get_by_role("button", name="Deutsch").click()
    page.wait_for_selector("html[lang=de]")
    assert page.url.endswith("/login/")
    assert page.evaluate(WIDE) <= 0
    ada.known_as(world.annotator)
    ada.begin(world.reasonability())
    assert page.locator("html").get_attribute("lang") == "de"
    ada.open("/")
    page.get_by_role("button", name="English").click()
    page.wait_for_selector("html[lang=en]")
    assert page.evaluate(WIDE) <= 0


def test_home_study_end_review_and_closed_fit_a_telephone(person, world):
    rating, drawing = world.reasonability(), world.map_drawing()
    ada = person(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    ada.known_as(world.annotator)
    page = ada.open("/")
    assert page.get_by_role("article").count() == 2
    assert page.get_by_text("0 of 1").count() == 2
    ada.begin(rating)
    for key in ("y", "n", "5", "Enter"):
        page.keyboard.press(key)
    page.get_by_text("That was the last one. Thank you.").wait_for()
    assert page.evaluate(WIDE) <= 0
    page.get_by_role("link", name="Look at my answers").click()
    page.get_by_text("yes · no · 5").wait_for()
    assert page.locator(".given img").evaluate("async image => { await image.decode(); return image.naturalWidth }") > 0
    assert page.evaluate(WIDE) <= 0
    close(rating, None)
    ada.open(f"/studies/{rating.uuid}/")
    page.get_by_text("This study is closed").wait_for()
    assert page.evaluate(WIDE) <= 0
    ada.open("/")
    page.get_by_text("Finished").wait_for()
    assert page.evaluate(WIDE) <= 0
    ada.begin(drawing)
    assert page.evaluate(WIDE) <= 0


def test_an_address_that_is_not_there_is_a_kind_page(person, world, settings):
    ada = person()
    ada.expected.append("404")
    ada.known_as(world.annotator)
    page = ada.open("/trials/3f0c7a8e-0000-4000-8000-000000000000/")
    page.get_by_text("There is nothing here").wait_for()
    page.get_by_role("link", name="To my studies").click()
    page.wait_for_url(ada.address + "/")


def test_help_opens_by_key_and_closes_by_escape(person, world):
    ada = person()
    ada.known_as(world.annotator)
    page = ada.begin(world.reasonability())
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("y")
    page.keyboard.press("Escape")
    assert page.locator("input:checked:not([name=view])").count() == 0, "keys belong to the dialog while it is open"


def test_an_answer_kept_on_the_device_goes_out_from_home(person, world):
    """The trial's page was shut while there was no connection."""
    study = world.reasonability()
    ada = person()
    ada.known_as(world.annotator)
    ada.expected.append("ERR_FAILED")
    page = ada.begin(study)
    page.route("**/answer/", lambda route: route.abort())
    for key in ("y", "n", "5", "Enter"):
        page.keyboard.press(key)
    page.get_by_text("No connection").wait_for()
    home = ada.tab()
    page.close()
    ada.open("/", home)
    home.get_by_text("Your kept answer has been sent.").wait_for()
    assert Answer.objects.count() == 1


def test_signed_out_in_between_the_answer_waits_for_the_next_sign_in(person, world):
    study = world.reasonability()
    ada = person()
    ada.known_as(world.annotator)
    ada.expected.append("403")
    page = ada.begin(study)
    for key in ("y", "n", "5"):
        page.keyboard.press(key)
    page.locator("#saved[data-state=saved]").wait_for()
    ada.context.clear_cookies()
    page.keyboard.press("Enter")
    page.get_by_text("You are signed out. Your answer is kept on this device").wait_for()
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("That was the last one").wait_for()
    assert Answer.objects.get().revision == 1


def test_time_in_the_background_does_not_count(person, world):
    study = world.reasonability()
    ada = person()
    ada.known_as(world.annotator)
    page = ada.begin(study)
    hide = """hidden => {
      Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }"""
    page.evaluate(hide, True)
    page.wait_for_timeout(1500)
    page.evaluate(hide, False)
    for key in ("y", "n", "5", "Enter"):
        page.keyboard.press(key)
    page.get_by_text("That was the last one").wait_for()
    answer = Answer.objects.get()
    assert 0 < answer.duration_ms < 1400
    assert [event[1] for event in answer.events if event[1] in ("hidden", "seen")] == ["hidden", "seen"]


def test_a_place_that_someone_else_took_leads_on(person, world):
    """The lease ran out, another person answered: a kind word instead of an error."""
    study = world.reasonability(answers_per_trial=1)
    ada = person()
    ada.known_as(world.annotator)
    ada.expected.append("409")
    page = ada.begin(study)
    Assignment.objects.update(lease_until=timezone.now() - timedelta(minutes=1))
    bea = next_step(enter(add_annotator("bea", PASSWORD), study)).assignment
    said = [{"position": 0, "necessary": True, "unnecessary": False, "quality": 3}]
    submit(assignment=bea, submission="5f0c7a8e-0000-4000-8000-000000000001", payload={"maps": said})
    for key in ("n", "n", "1", "Enter"):
        page.keyboard.press(key)
    page.wait_for_url("**/studies/**")
    page.get_by_text("Nothing is left to do here").wait_for()
    assert Answer.objects.count() == 1
