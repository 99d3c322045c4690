"""The team page in Chromium: mouse, keyboard, touch; matched parts light each other; practice says what it is."""

import pytest

from annotation.entry import enter
from annotation.models import Answer, Arm
from annotation.publishing import TrialItem, add_trials, create_study, publish
from annotation.studies.trials import Group
from mlcore.models import ImageLabel
from tests.annotation.birds import make_birds
from tests.browser.conftest import ready
from tests.browser.test_accessibility import AXE, MODES, RUN
from tests.browser.world import make_world

READING = 500  # what practice says takes no press for a moment
SCALE = {"settings": {"own_confidence": "scale"}}


@pytest.fixture
def world():
    return make_world(images=4)


@pytest.fixture
def ada(person, world):
    one = person()
    one.known_as(world.annotator)
    return one


def said() -> list[dict[str, object]]:
    return [
        {row.question: row.value for row in answer.judgements.all()} for answer in Answer.objects.order_by("created")
    ]


def next_trial(page, act) -> None:
    before = page.url
    act()
    page.wait_for_url(lambda url: url != before)


def test_by_mouse_one_press_answers_and_goes_on(ada, world):
    page = ada.begin(world.team("neighbours", images=2))
    assert page.locator("input:checked").count() == 0, "nothing is preselected"
    assert not page.locator("#send").is_visible()
    assert page.locator(".neighbour img").count() == 3
    assert page.evaluate("[...document.querySelectorAll('.stage img')].every((one) => one.naturalWidth > 0)")
    next_trial(page, page.locator("label:has([value=yes])").click)
    ready(page)
    next_trial(page, page.locator("label:has([value=no])").click)
    page.get_by_text("That was the last one").wait_for()
    assert said() == [{"accept": True}, {"accept": False}]
    first = Answer.objects.order_by("created")[0]
    assert first.duration_ms > 0
    assert ["change", "accept", "yes"] in [event[1:] for event in first.events]


def test_by_keyboard_alone_with_confidence(ada, world):
    page = ada.begin(world.team("neighbours", images=1, **SCALE))
    page.keyboard.press("Enter")
    page.get_by_text("One question is still open.").wait_for()
    page.keyboard.press("y")
    assert page.locator("[name=accept]:checked").get_attribute("value") == "yes"
    page.keyboard.press("Enter")
    page.get_by_text("One question is still open.").wait_for()
    page.keyboard.press("5")
    page.keyboard.press("Backspace")
    assert page.locator("[name=confidence]:checked").count() == 0, "taken back"
    page.keyboard.press("4")
    next_trial(page, lambda: page.keyboard.press("Enter"))
    page.get_by_text("That was the last one").wait_for()
    assert said() == [{"accept": True, "confidence": 4.0}]


def test_by_keyboard_one_key_answers_and_backspace_goes_back_to_change_it(ada, world):
    page = ada.begin(world.team("map", images=2))
    first = page.url
    next_trial(page, lambda: page.keyboard.press("n"))
    ready(page)
    next_trial(page, lambda: page.keyboard.press("Backspace"))
    page.wait_for_url(first)
    ready(page)
    assert page.locator("[name=accept]:checked").get_attribute("value") == "no"
    assert page.locator("#send").is_visible(), "an answer that stands can be sent as it is"
    next_trial(page, page.locator("label:has([value=yes])").click)
    assert said() == [{"accept": True}]
    assert Answer.objects.get().revision == 2


def test_by_touch_on_a_phone(person, world):
    study = world.team("matches", images=1, **SCALE)
    finger = person(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    finger.known_as(world.annotator)
    page = finger.begin(study)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    sizes = page.evaluate(
        "[...document.querySelectorAll('button, .keys span, a')]"
        ".filter(e => e.offsetParent && !e.closest('kbd, .disc, .only-heard'))"
        ".map(e => e.getBoundingClientRect()).filter(r => r.width > 1).map(r => Math.min(r.width, r.height))"
    )
    assert min(sizes) >= 44, "what is pressed is at least 44 px"
    bar = page.locator(".answer-bar").bounding_box()
    assert bar["y"] + bar["height"] == 740, "the answers stay within reach of the thumb"
    page.locator(".chip[data-patch='2']").tap()
    assert lit(page) == {"picture": ["2"], "neighbour": ["2"], "chips": ["2"]}
    page.locator(".neighbours").evaluate("(row) => row.scrollTo(1000, 0)")
    page.locator(".neighbour").nth(2).locator(".name").tap()
    assert page.locator(".neighbour.in-hand").get_attribute("data-neighbour") == "2"
    page.locator("label:has([value=no])").tap()
    page.locator("label:has([value='2'])").tap()
    next_trial(page, page.get_by_role("button", name="Send and next").tap)
    assert said() == [{"accept": False, "confidence": 2.0}]


def lit(page) -> dict[str, list[str]]:
    """Which parts stand out: on the large picture, on the neighbour in hand, among the numbers."""
    parts = "(all) => [...new Set(all.map((one) => one.dataset.patch))]"
    return {
        "picture": page.locator(".seen g:not([hidden]) > .patch.lit").evaluate_all(parts),
        "neighbour": page.locator(".neighbour.in-hand .patch.lit").evaluate_all(parts),
        "chips": page.locator(".chip.lit").evaluate_all(parts),
    }


def test_a_part_lights_its_partner(ada, world):
    page = ada.begin(world.team("matches", images=1))
    nothing = {"picture": [], "neighbour": [], "chips": []}
    assert lit(page) == nothing
    page.locator(".seen g:not([hidden]) > .patch[data-patch='1'] .line").hover()
    assert lit(page) == {"picture": ["1"], "neighbour": ["1"], "chips": ["1"]}
    page.locator(".says").hover()
    assert lit(page) == nothing
    # A part of the second neighbour takes that neighbour in hand; it has two parts, and other boxes.
    page.locator(".neighbour").nth(1).locator(".patch[data-patch='2'] .line").hover()
    assert lit(page) == {"picture": ["2"], "neighbour": ["2"], "chips": ["2"]}
    assert page.locator(".neighbour.in-hand").get_attribute("data-neighbour") == "1"
    assert page.locator(".seen g:not([hidden]) > .patch rect.line").count() == 2
    assert page.locator(".chip:visible").count() == 2
    # A press keeps it; another lets it go.
    page.locator(".chip[data-patch='1']").click()
    page.locator(".says").hover()
    assert lit(page) == {"picture": ["1"], "neighbour": ["1"], "chips": ["1"]}
    assert page.locator(".chip[data-patch='1']").get_attribute("aria-pressed") == "true"
    page.locator(".seen g:not([hidden]) > .patch[data-patch='1'] .line").click()
    page.locator(".says").hover()
    assert lit(page) == nothing


def test_parts_by_keyboard(ada, world):
    page = ada.begin(world.team("matches", images=1))
    page.locator(".chip").first.focus()
    assert lit(page)["picture"] == ["1"]
    page.keyboard.press("Tab")
    assert lit(page) == {"picture": ["2"], "neighbour": ["2"], "chips": ["2"]}
    page.keyboard.press("Space")
    page.keyboard.press("]")
    assert page.locator(".neighbour.in-hand").get_attribute("data-neighbour") == "1"
    assert lit(page) == {"picture": ["2"], "neighbour": ["2"], "chips": ["2"]}, "the part that was kept stays lit"
    page.keyboard.press("[")
    page.keyboard.press("Escape")
    assert lit(page)["picture"] == []
    names = page.locator(".neighbour .name")
    names.nth(2).focus()
    page.keyboard.press("Enter")
    assert page.locator(".neighbour.in-hand").get_attribute("data-neighbour") == "2"
    assert said() == [], "Enter on a picture's name is no answer"
    next_trial(page, lambda: page.keyboard.press("y"))
    assert said() == [{"accept": True}]


@pytest.mark.parametrize(("width", "height"), [(1100, 760), (768, 1000), (360, 740)])
def test_boxes_lie_on_the_picture_where_the_shares_say(person, world, width, height):
    study = world.team("matches", images=1)
    ada = person(viewport={"width": width, "height": height})
    ada.known_as(world.annotator)
    page = ada.begin(study)
    for picture, box, corners in (
        (".seen img", ".seen g:not([hidden]) > .patch[data-patch='1'] .line", (0.1, 0.1, 0.35, 0.4)),
        (".neighbour img", ".neighbour .patch[data-patch='1'] .line", (0.1, 0.1, 0.35, 0.4)),
    ):
        # The part of the element that the picture fills: fitted into it, in the middle.
        shown = page.locator(picture).first.evaluate("""(one) => {
          const box = one.getBoundingClientRect();
          const scale = Math.min(box.width / one.naturalWidth, box.height / one.naturalHeight);
          const [width, height] = [one.naturalWidth * scale, one.naturalHeight * scale];
          return { x: box.x + (box.width - width) / 2, y: box.y + (box.height - height) / 2, width, height };
        }""")
        drawn = page.locator(box).first.evaluate("(one) => one.getBoundingClientRect().toJSON()")
        found = (
            (drawn["x"] - shown["x"]) / shown["width"],
            (drawn["y"] - shown["y"]) / shown["height"],
            (drawn["right"] - shown["x"]) / shown["width"],
            (drawn["bottom"] - shown["y"]) / shown["height"],
        )
        assert found == pytest.approx(corners, abs=0.03)


def test_practice_says_what_it_is_and_waits(ada, world):
    study = world.team("neighbours", live=False, images=1)
    ImageLabel.objects.filter(image=world.images[3]).update(index=1)
    add_trials(
        study, None, "practice", [TrialItem(world.images[3]), TrialItem(world.images[3], gold={"accept": False})]
    )
    publish(study, None)
    page = ada.begin(study)
    name = world.image_set.classes[1]
    assert "Right." not in page.content()
    page.keyboard.press("y")
    page.get_by_text(f"Right. It is a {name}.").wait_for()
    assert page.locator("[name=accept]:checked").get_attribute("value") == "yes"
    button = page.get_by_role("button", name="Next")
    assert button.is_visible()
    page.wait_for_timeout(READING)
    next_trial(page, lambda: page.keyboard.press("Enter"))
    ready(page)
    page.keyboard.press("y")
    page.get_by_text("Not quite: the AI is wrong here.").wait_for()
    page.wait_for_timeout(READING)
    next_trial(page, page.get_by_role("button", name="Next").click)
    ready(page)
    next_trial(page, lambda: page.keyboard.press("n"))
    assert said() == [{"accept": True}, {"accept": True}, {"accept": False}]


def test_a_reload_brings_the_choice_back(ada, world):
    page = ada.begin(world.team("neighbours", images=1, **SCALE))
    page.keyboard.press("n")
    page.locator("#saved[data-state=saved]").wait_for()
    page.reload()
    ready(page)
    assert page.locator("[name=accept]:checked").get_attribute("value") == "no"
    assert page.locator("[name=confidence]:checked").count() == 0


def test_the_heat_map_gives_way_to_the_bare_picture(ada, world):
    page = ada.begin(world.team("map", images=1))
    shown = "document.querySelector('[data-map]').toDataURL()"
    with_map = page.evaluate(shown)
    page.keyboard.down("o")
    bare = page.evaluate(shown)
    page.keyboard.up("o")
    assert bare != with_map
    assert page.evaluate(shown) == with_map


def test_without_an_explanation_there_is_only_what_the_ai_says(ada, world):
    study = world.team("none", images=1)
    participant = enter(world.annotator, study)
    participant.arm = Arm.objects.get(study=study, name="bare-arm")
    participant.save()
    page = ada.begin(study)
    assert page.locator(".stage img, .stage canvas").count() == 1
    page.get_by_text("72 % sure").wait_for()
    assert "bare-arm" not in page.content()
    next_trial(page, lambda: page.keyboard.press("n"))
    assert said() == [{"accept": False}]


@pytest.mark.parametrize(("mode", "width"), [("light", 1440), ("dark", 768), ("contrast", 360)])
def test_axe_finds_nothing(person, world, mode, width):
    studies = {shown: world.team(shown, **SCALE) for shown in ("none", "map", "neighbours", "matches")}
    ada = person(viewport={"width": width, "height": 800}, **MODES[mode])
    ada.known_as(world.annotator)
    found = {}

    def look(name):
        ada.page.evaluate(AXE)
        found[name] = ada.page.evaluate(RUN, mode == "contrast")

    for shown, study in studies.items():
        page = ada.begin(study)
        page.keyboard.press("Enter")
        look(shown)
        page.keyboard.press("?")
        look(f"{shown}, help")
        page.keyboard.press("Escape")
    page.locator(".chip").first.focus()
    look("a part that is lit")
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_real_birds(person, world, test_data, tmp_path):
    """Photographs with computed neighbours: everything arrives, fits, and is answered."""
    birds = make_birds(test_data / "cub832", tmp_path)
    study = create_study(
        kind="team", name="Birds", owner=None, image_set=birds.image_set, images=birds.images[:2],
        groups=[Group("parts", (birds.matches,))], conditions="within",
    )  # fmt: skip
    publish(study, None)
    for width, height in ((1440, 800), (768, 1000), (360, 740)):
        ada = person(viewport={"width": width, "height": height})
        ada.known_as(world.annotator)
        page = ada.begin(study)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(".neighbour .patch .line").count() == 25
        large, small = (page.locator(one).first.bounding_box() for one in (".seen", ".neighbour .frame"))
        assert large["width"] * large["height"] > 2 * small["width"] * small["height"]
        if width > 679:
            # Nothing of the explanation lies below the fold.
            last = page.locator(".neighbour").last.bounding_box()
            assert last["y"] + last["height"] <= page.locator(".answer-bar").bounding_box()["y"]
    next_trial(page, lambda: page.keyboard.press("y"))
    assert said() == [{"accept": True}]
