"""The page of a learning-rate test at a browser: the curve over the rate, read by hovering, and the way to a run."""

from django.urls import reverse

from mlcore.models import Run, RunMetric
from mlcore.runs import state
from mlcore.runs.start import start_run
from tests.annotation.admin.world import owned_world
from tests.annotation.factories import researcher
from tests.browser.test_admin_run import open_as
from tests.mlcore.runs.world import TINY


def tried(owner) -> Run:
    """Losses that fall up to 1e-3 and rise from there, at a tenth of a power of ten a step."""
    world = owned_world(owner)
    run = start_run(
        kind="lr_test", name="rates", owner=owner, image_set=world.image_set, partition=world.partition,
        recipe=TINY, enqueue=False,
    )  # fmt: skip
    rows = []
    for step in range(1, 42):
        power = -5 + (step - 1) / 10
        loss = 2 + abs(power + 3)
        values = {"rate": 10**power, "loss": loss, "smoothed": loss + 0.1}
        rows += [RunMetric(run=run, step=step, epoch=1, part="train", name=name, value=values[name]) for name in values]
    RunMetric.objects.bulk_create(rows)
    rates = {"suggestion": 10**-3.5, "sentence": "The smoothed loss falls most steeply at a rate of 0.000316."}
    state.succeed(state.claim(run.uuid, "here:1"), {"rates": rates})
    return run


def test_the_curve_is_drawn_over_the_rate_and_leads_to_a_run(person):
    owner = researcher()
    run = tried(owner)
    page = open_as(person, owner, "mlcore_run_change", run.pk)
    page.locator("[data-rates] canvas").wait_for()
    legend = page.locator(".u-legend")
    page.wait_for_function("document.querySelector('.u-legend').textContent.includes('3.16e-4')")
    assert "loss2.5smoothed2.6" in legend.inner_text().replace("\n", "").replace(":", "").replace(" ", "")
    box = page.locator(".u-over").bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + box["height"] / 2)
    page.wait_for_function("document.querySelector('.u-legend').textContent.includes('1.00e-5')")
    page.get_by_role("link", name="Train with this rate").click()
    assert page.get_by_label("Learning rate", exact=True).input_value() == "0.000316"
    assert page.get_by_label("Images", exact=True).input_value() == str(run.image_set_id)


def test_a_server_that_is_away_for_a_moment_is_asked_again(person):
    owner = researcher()
    run = tried(owner)
    one = person()
    one.expected += ["favicon", "status of 503"]  # the browser tells of what it was refused
    one.known_as(owner)
    page = one.open(reverse("admin:mlcore_run_change", args=[run.pk]))
    page.locator("[data-rates] canvas").wait_for()
    away = []

    def answer(route):
        if away:
            route.continue_()
        else:
            away.append(route.request.url)
            route.fulfill(status=503, body="The server is being started.")

    page.route("**/rates/", answer)
    page.reload()
    page.locator("[data-rates] canvas").wait_for()
    assert len(away) == 1
