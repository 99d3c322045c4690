"""The researcher at a browser: a form that changes with the objective, curves that can be read, maps side by side."""

from django.urls import reverse

from mlcore.models import Run, RunMetric
from tests.annotation.admin.world import make_loop
from tests.annotation.factories import researcher


def open_as(person, owner, name: str, *args, **options):
    """Signs in without typing a password, and opens a page of the admin."""
    from django.test import Client

    client = Client()
    client.force_login(owner)
    one = person(**options)
    one.expected.append("favicon")
    one.context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": one.address}])
    return one.open(reverse(f"admin:{name}", args=args))


def test_choosing_an_objective_shows_its_fields_and_keeps_what_was_typed(person):
    loop = make_loop(researcher())
    page = open_as(person, loop.owner, "mlcore_run_start")
    page.get_by_label("Images", exact=True).select_option(label="scenes")
    page.get_by_label("Epochs", exact=True).fill("7")
    assert page.get_by_label("Slack, η").count() == 0
    page.get_by_label("Objective").select_option(label="RES")
    page.get_by_label("Slack, η").wait_for()
    assert page.get_by_label("Epochs", exact=True).input_value() == "7"
    page.get_by_label("Objective").select_option(label="HARMONY: tuned for a metric")
    page.get_by_label("Metric", exact=True).wait_for()
    rate = page.get_by_label("Learning rate", exact=True)
    assert rate.input_value() == "3e-05"  # as published, and typed values stay
    page.get_by_label("Metric", exact=True).select_option(label="Relevance mass accuracy (RMA)")
    page.wait_for_function("document.querySelector('[name=learning_rate]').value === '3e-06'")
    assert page.get_by_label("Epochs", exact=True).input_value() == "7"
    page.get_by_text("Explain", exact=True).click()
    page.get_by_label("Class that is explained").wait_for()
    assert page.locator("[name=objective]").count() == 0


def test_curves_are_drawn_and_read_by_hovering(person):
    loop = make_loop(researcher())
    page = open_as(person, loop.owner, "mlcore_run_change", loop.phase1.pk)
    loss = page.locator(".h-curve", has_text="Loss").first
    loss.locator("canvas").wait_for()
    legend = loss.locator(".u-legend")
    page.wait_for_function("document.querySelector('.u-legend').textContent.includes('0.1667')")
    assert "step6" in legend.inner_text().replace("\n", "")
    box = loss.locator(".u-over").bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + box["height"] / 2)
    page.wait_for_function("document.querySelector('.u-legend').textContent.includes('step1')")
    assert "training1validation–" in legend.inner_text().replace("\n", "")  # 1/1, and no validation yet
    page.get_by_label("Log scale").check()
    page.get_by_label("Smoothing").fill("0.9")
    assert loss.locator("canvas").count() == 1


def test_the_agreement_is_drawn_with_the_line_that_it_must_stay_above(person):
    loop = make_loop(researcher())
    recipe = loop.phase1.recipe | {"objective": "harmony", "metric": "rma", "method": "grad_cam"}
    Run.objects.filter(pk=loop.phase1.pk).update(recipe=recipe)
    for step, value in ((0, 1.0), (2, 0.97), (4, 0.93)):
        RunMetric.objects.create(run=loop.phase1, step=step, epoch=1, part="validation", name="agreement", value=value)
    page = open_as(person, loop.owner, "mlcore_run_change", loop.phase1.pk)
    legend = page.locator(".h-curve", has_text="Agreement with the original").locator(".u-legend")
    legend.get_by_text("must be above").wait_for()
    assert "must be above0.95" in legend.inner_text().replace("\n", "").replace("\t", "")


def test_before_and_after_slide_together(person):
    loop = make_loop(researcher())
    page = open_as(person, loop.owner, "annotation_study_before_after", loop.phase2.pk)
    slides = page.locator("[data-slide]")
    assert slides.count() == 3
    page.locator("[data-slide-all]").fill("90")
    assert {slides.nth(i).evaluate("e => e.style.getPropertyValue('--place')") for i in range(3)} == {"90%"}
    slides.first.locator("input").fill("10")
    assert slides.first.evaluate("e => e.style.getPropertyValue('--place')") == "10%"
    loaded = "[...document.querySelectorAll('[data-slide] img')].every(i => i.complete && i.naturalWidth > 0)"
    page.locator("[data-slide]").last.scroll_into_view_if_needed()
    page.wait_for_function(loaded)


def test_closing_a_study_asks_first(person):
    loop = make_loop(researcher())
    page = open_as(person, loop.owner, "annotation_study_change", loop.ratings.pk)
    page.on("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Close").click()
    loop.ratings.refresh_from_db()
    assert loop.ratings.state == "live"
