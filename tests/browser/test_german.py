"""German in Chromium: long words on a narrow telephone, J for yes, the switch without scripts, dates and times."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from annotation.making import TrialItem, add_trials
from annotation.models import Answer
from annotation.publishing import create_study, publish
from tests.browser.conftest import ready
from tests.browser.world import make_world

GERMAN = {"locale": "de-DE", "viewport": {"width": 360, "height": 740}}
# Whatever reaches over the right edge of the window, and whatever label is cut off inside its own box.
TOO_WIDE = """() => {
  const found = [];
  const edge = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > edge) found.push(`page: ${document.documentElement.scrollWidth}`);
  for (const one of document.querySelectorAll("button, a, p, h1, h2, label, kbd, legend, td, input + span")) {
    const box = one.getBoundingClientRect();
    if (!box.width || one.closest("[hidden], .only-heard, .skip, ol.neighbours, .tools")) continue;
    const name = `${one.tagName} ${one.className}: ${one.textContent.trim().slice(0, 60)}`;
    if (box.right > edge + 1 || box.left < -1) found.push(`over the edge: ${name}`);
    const style = getComputedStyle(one);
    if (one.scrollWidth > one.clientWidth + 1 && style.display !== "inline" && style.textOverflow !== "ellipsis")
      found.push(`cut off: ${name}`);
  }
  return found;
}"""


@pytest.fixture
def look() -> Any:
    """Looks for what does not fit."""

    def looked(page: Any, name: str) -> None:
        assert page.locator("html").get_attribute("lang") == "de", name
        assert page.evaluate(TOO_WIDE) == [], name

    return looked


def _phased(world: Any) -> Any:
    study = create_study(
        kind="reasonability", name="s", title="Aufmerksamkeitskartenbeurteilung", owner=None,
        image_set=world.image_set, images=world.images[:1], explanation_sets=world.sets[:1], consent="Einverstanden?",
        plan={
            "introduction": [{"title": "Was zu sehen ist", "text": "Ein Bild."}],
            "exit": [
                {"name": "how", "kind": "scale", "question": "Wie leicht war es?"},
                {"name": "age", "kind": "number", "question": "Wie alt sind Sie?"},
            ],
            "completion": {"codes": {"completed": "FERTIG-1"}},
        },
    )  # fmt: skip
    gold = {"necessary": "yes", "unnecessary": "no", "quality_at_least": 4}
    add_trials(study, None, "practice", [TrialItem(world.images[1], gold=gold)])
    return publish(study, None)


def test_the_way_through_a_study_fits_a_narrow_telephone(person: Any, look: Any) -> None:
    world = make_world(images=2)
    _phased(world)
    ada = person(**GERMAN)
    page = ada.open("/login/")
    look(page, "login")
    ada.known_as(world.annotator)
    ada.open("/")
    look(page, "home")
    page.get_by_role("button", name="Darstellung").click()
    look(page, "appearance")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Beginnen").click()
    look(page, "consent")
    page.get_by_role("button", name="Ich stimme zu", exact=True).click()
    look(page, "introduction")
    page.get_by_role("button", name="Beginnen").click()
    ready(page)
    for key in ("j", "J", "2", "Enter"):
        page.keyboard.press(key)
    page.get_by_text("Erwartet war: der Fokus enthält die nötigen Einzelheiten").wait_for()
    look(page, "feedback")
    page.wait_for_timeout(450)  # what practice says is not skipped by a double press
    page.get_by_role("button", name="Weiter").click()
    page.get_by_text("0 von 1").wait_for()
    ready(page)
    page.keyboard.press("Enter")
    page.get_by_text("Eine Frage ist noch offen.").wait_for()
    look(page, "open question")
    for key in ("j", "n", "4", "Enter"):
        page.keyboard.press(key)
    page.get_by_role("heading", name="Zum Schluss ein paar Fragen").wait_for()
    look(page, "exit")
    page.locator("form.asked").evaluate("form => { form.noValidate = true; form.requestSubmit(); }")
    page.get_by_text("Bitte diese Frage beantworten.").first.wait_for()
    look(page, "exit with errors")
    page.get_by_label("5", exact=True).check(force=True)
    page.get_by_label("Wie alt sind Sie?").fill("31")
    page.get_by_role("button", name="Senden und abschließen").click()
    page.get_by_text("Ihr Abschlusscode").wait_for()
    look(page, "end")
    page.get_by_role("link", name="Meine Antworten ansehen").click()
    look(page, "answers")
    # In the visitor's own time, once the page's script has been there.
    expect(page.locator("time[data-local]")).to_have_text(re.compile(r"^\d\d:\d\d$"))
    answer = Answer.objects.get(assignment__trial__phase="main")
    assert [item.truth for item in answer.judgements.order_by("pk") if item.truth is not None] == [True, False]


@pytest.mark.parametrize("kind", ["rating", "drawing", "starting map", "choice", "scale", "team", "matches"])
def test_a_trial_of_each_kind_and_its_help_fit_a_narrow_telephone(person: Any, look: Any, kind: str) -> None:
    world = make_world(images=2, classifiers=2)
    study = {
        "rating": lambda: world.reasonability(maps=2),
        "drawing": lambda: world.map_drawing(),
        "starting map": lambda: world.map_drawing(explanation_sets=world.sets[:1], settings={"start": "explanation"}),
        "choice": lambda: world.preference(),
        "scale": lambda: world.preference(settings={"form": "slider"}),
        "team": lambda: world.team("map", settings={"own_confidence": "scale"}),
        "matches": lambda: world.team("matches"),
    }[kind]()
    ada = person(**GERMAN)
    ada.known_as(world.annotator)
    page = ada.begin(study)
    look(page, kind)
    page.locator("#help-button").click()
    look(page, f"{kind}, help")
    help_box = page.locator("#help")
    assert help_box.evaluate("one => one.scrollWidth <= one.clientWidth")
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 1280, "height": 760})
    look(page, f"{kind}, wide")


def test_j_answers_yes_where_y_does_and_the_page_names_the_key_of_its_language(person: Any) -> None:
    world = make_world(images=2)
    study = world.team("none", answers_per_trial=None)
    for locale, shown, key in (("de-DE", "J", "j"), ("en-GB", "Y", "j"), ("de-DE", "J", "Y")):
        someone = person(locale=locale)
        someone.known_as(make_world(images=1, username=f"u-{locale}-{key}").annotator)
        page = someone.begin(study)
        yes = page.locator("input[name=accept][value=yes] + span kbd")
        assert yes.inner_text() == shown
        with page.expect_navigation():
            page.keyboard.press(key)
    assert Answer.objects.count() == 3
    assert all(answer.judgements.get().truth for answer in Answer.objects.all())


def test_the_switch_works_without_scripts_for_a_guest_and_stays(person: Any) -> None:
    world = make_world(images=2)
    study = world.reasonability(
        plan={"people": {"open_link": True}, "introduction": [{"title": "", "text": "A text."}]},
        consent="Do you agree?",
        translations={"de": {"title": "Wohin schaut es?", "consent": "Stimmen Sie zu?"}},
    )
    kim = person(java_script_enabled=False, locale="en-GB")
    page = kim.open(f"/open/{study.join_key}/")
    page.get_by_role("button", name="Deutsch").click()
    page.get_by_role("heading", name="Wohin schaut es?").wait_for()
    page.get_by_label("Wie dürfen wir Sie nennen?").fill("Kim")
    page.get_by_role("button", name="Beginnen").click()
    page.get_by_text("Stimmen Sie zu?").wait_for()
    page.get_by_role("button", name="Ich stimme zu", exact=True).click()
    page.get_by_text("A text.").wait_for()
    assert page.get_by_role("button", name="Beginnen").is_visible(), "what nobody translated stays as it was written"
    cookie = next(item for item in kim.context.cookies() if item["name"] == "django_language")
    assert cookie["value"] == "de"
    assert cookie["expires"] > 0, "kept when the browser is closed"
