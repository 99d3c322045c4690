"""The study builder in a browser: parts are exchanged without losing what was typed elsewhere."""

import re

from playwright.sync_api import expect

from annotation.models import Study
from mlcore.models import Classifier
from tests.annotation.factories import explain, images, researcher


def test_a_study_is_built_tried_and_published(person):
    rita = researcher()
    shown = images(3)
    sets = [explain(shown, owner=rita) for _ in range(2)]
    Classifier.objects.update(owner=rita)
    someone = person()
    someone.known_as(rita)
    page = someone.open(f"/admin/annotation/study/create/?explanations={sets[0].pk}&explanations={sets[1].pk}")
    page.locator("#id_title").fill("Kept")
    page.locator("input[name=kind][value=preference]").check()
    expect(page.locator("[name='preference-question'], [name^='preference-']").first).to_be_attached()
    expect(page.locator("#id_title")).to_have_value("Kept")
    figures = page.locator("#sample-figures")
    expect(figures).to_contain_text("People needed 3")
    page.locator("#id_k").fill("7")
    page.locator("#id_k").press("Tab")
    expect(figures).to_contain_text("People needed 7")

    page.locator("summary", has_text="Introduction").click()
    add = page.get_by_role("button", name="Add a page")
    add.click()
    page.locator("[name='introduction.0.text']").fill("First")
    add.click()
    page.locator("[name='introduction.1.text']").fill("Second")
    page.get_by_role("button", name="Move page 2 up").click()
    expect(page.locator("[name='introduction.0.text']")).to_have_value("Second")
    expect(page.locator("[name='introduction.1.text']")).to_have_value("First")
    expect(page.locator("[name='introduction.1.de.text']")).to_be_attached()
    page.locator("#id_title").press("Enter")  # keeps nothing
    page.wait_for_load_state()
    assert not Study.objects.exists()
    expect(page.locator("[name='introduction.0.text']")).to_have_value("Second")

    page.get_by_role("button", name="Keep as a draft").click()
    expect(page.get_by_text("is kept as a draft")).to_be_visible()
    study = Study.objects.get()
    assert (study.kind, study.answers_per_trial) == ("preference", 7)
    assert [one["text"] for one in study.version.plan["introduction"]] == ["Second", "First"]
    page.get_by_role("link", name="Practice, qualification and checks").click()
    page.locator("#id_q").press_sequentially(shown[1].name[-8:])
    expect(page.locator(".h-pick-one")).to_have_count(1)
    page.locator(".h-pick-one").click()
    page.get_by_role("button", name="Add the trial", exact=True).click()
    expect(page.get_by_text(re.compile("is added"))).to_be_visible()
    assert study.trials.get(phase="practice").image == shown[1]
    page.get_by_role("link", name="Back to the study").click()
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_text("Annotators see it on their home page now.")).to_be_visible()
