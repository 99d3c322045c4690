"""A kind that the application does not know, played in Chromium with the generic form script alone."""

import pytest

from annotation.models import Answer
from annotation.publishing import create_study, publish
from annotation.studies.trials import Group
from tests.annotation.fifth_kind.fixture import caption  # noqa: F401
from tests.browser.conftest import ready
from tests.browser.world import make_world


@pytest.mark.usefixtures("caption")
def test_a_module_and_a_template_are_a_whole_kind(person):
    world = make_world(images=2, classifiers=2)
    study = create_study(
        kind="caption", name="Captions", title="What is it?", owner=None, image_set=world.image_set,
        images=world.images, conditions="within",
        groups=[Group("plain", (world.sets[0],)), Group("tuned", (world.sets[1],))],
    )  # fmt: skip
    ada = person()
    ada.known_as(world.annotator)
    page = ada.begin(publish(study, None))
    assert page.locator("#answer-form input:checked").count() == 0
    shown = page.evaluate(
        "[document.querySelector('img[data-picture]').naturalWidth,"
        " new Set(document.querySelector('canvas').getContext('2d').getImageData(0, 0, 99, 99).data).size > 9]"
    )
    assert shown == [132, True], "picture and map are there without a script of the kind's own"
    page.keyboard.press("Enter")
    page.get_by_text("One question is still open.").wait_for()
    page.get_by_label("What do you see?").fill("a square, y n 1")  # letters in a text are not shortcuts
    page.get_by_label("What do you see?").blur()
    page.keyboard.press("4")
    page.keyboard.press("y")
    page.locator("#saved[data-state=saved]").wait_for()
    page.reload()
    ready(page)
    assert page.get_by_label("What do you see?").input_value() == "a square, y n 1"
    before = page.url
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: url != before)
    ready(page)
    page.get_by_label("What do you see?").fill("a triangle")
    page.get_by_role("radio", name="2").check()
    page.get_by_role("radio", name="No").check()
    page.get_by_role("button", name="Send and next").click()
    page.get_by_text("That was the last one").wait_for()
    said = [
        {row.question: row.value for row in answer.judgements.all()}
        for answer in Answer.objects.filter(assignment__trial__study=study).order_by("pk")
    ]
    assert said == [
        {"caption": "a square, y n 1", "sure": 4.0, "helped": True},
        {"caption": "a triangle", "sure": 2.0, "helped": False},
    ]
