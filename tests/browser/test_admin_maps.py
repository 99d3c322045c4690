"""The researcher at a browser: maps side by side by mouse and keys, files that come, and a table put in order."""

import io

import numpy as np
from django.urls import reverse

from mlcore.exchange.shards import load_map
from mlcore.models import Explanation
from tests.annotation.factories import researcher
from tests.browser.world import make_world
from tests.mlcore.admin.scored import Scored, score_run, write_score

LOADED = "[...document.querySelectorAll('[data-layers] img')].every(i => i.complete && i.naturalWidth > 0)"

NAMED = """([name, wanted]) => {
    const shown = document.querySelector('.h-compare-where b');
    return shown !== null && (shown.textContent === name) === wanted;
}"""


def scored_world(images: int = 4, classifiers: int = 2) -> Scored:
    """Scenes that can be looked at, under the maps of two classifiers, with a value an image."""
    world = make_world(images=images, classifiers=classifiers)
    owner = researcher()
    world.image_set.owner = owner
    world.image_set.save()
    for place, one in enumerate(world.sets):
        one.owner = owner
        one.method = ("grad_cam", "layer_cam")[place % 2]
        one.save()
        one.classifier.name = ("original", "tuned")[place % 2]
        one.classifier.owner = owner
        one.classifier.save()
    run = score_run(owner, world.image_set, world.sets)
    for place, one in enumerate(world.sets):
        rising = {str(image.uuid): (place + 1) * index / 10 for index, image in enumerate(world.images)}
        write_score(run, one, "pointing", rising, left_out={"no mask": 2})
        write_score(run, one, "complexity", rising)
    return Scored(owner, world.image_set, world.images, {one.method: one for one in world.sets}, run)


def open_as(person, owner, name: str, *args, query: str = "", **options):
    one = person(**options)
    one.known_as(owner)
    return one.open(reverse(f"admin:{name}", args=args) + query)


def shown_name(page) -> str:
    return page.locator(".h-compare-where b").inner_text()


def test_maps_are_compared_by_mouse_and_keys(person):
    made = scored_world()
    page = open_as(person, made.owner, "mlcore_imageset_maps", made.image_set.pk)
    stage = page.locator("[data-layers]")
    page.wait_for_function(LOADED)
    layers = stage.locator(".h-layer")
    assert layers.count() == 2
    box, picture = layers.first.bounding_box(), stage.locator("figure:first-child img").bounding_box()
    assert abs(box["width"] - picture["width"]) < 2
    assert abs(box["height"] - picture["height"]) < 2

    page.keyboard.down("o")
    assert layers.first.evaluate("e => getComputedStyle(e).visibility") == "hidden"
    page.keyboard.up("o")
    assert layers.first.evaluate("e => getComputedStyle(e).visibility") == "visible"

    page.locator("[data-opacity]").fill("25")
    page.locator("[data-opacity]").dispatch_event("change")
    assert layers.first.evaluate("e => getComputedStyle(e).opacity") == "0.25"
    page.locator("[data-opacity]").blur()

    first = shown_name(page)
    page.keyboard.press("ArrowRight")
    page.wait_for_function(NAMED, arg=[first, False])
    assert "opacity=25" in page.url
    page.wait_for_function("getComputedStyle(document.querySelector('.h-layer')).opacity === '0.25'")
    page.get_by_label("Image before").click()
    page.wait_for_function(NAMED, arg=[first, True])

    page.get_by_label("Style").select_option("contour")
    page.wait_for_url("**style=contour**")
    page.wait_for_function(LOADED)
    page.locator("summary", has_text="Maps").click()
    page.locator(f"input[name=set][value='{made.sets['layer_cam'].pk}']").uncheck()
    page.locator("details[open]").get_by_role("button", name="Show these").click()
    page.wait_for_function("document.querySelectorAll('.h-layer').length === 1")
    assert "style=contour" in page.url
    assert page.get_by_label("Style").input_value() == "contour"


def test_a_map_is_taken_away_as_numbers_and_as_a_picture(person):
    made = scored_world()
    page = open_as(person, made.owner, "mlcore_imageset_maps", made.image_set.pk)
    row = Explanation.objects.filter(set=made.sets["grad_cam"]).first()
    tile = page.locator(f"[data-set='{made.sets['grad_cam'].pk}']")
    files = {}
    for link in (".npy", "PNG", "16-bit PNG"):
        with page.expect_download() as waiting:
            tile.get_by_role("link", name=link, exact=True).click()
        files[link] = waiting.value
    assert files[".npy"].suggested_filename == "0_grad-cam_original.npy"
    with open(files[".npy"].path(), "rb") as stream:
        assert np.array_equal(np.load(io.BytesIO(stream.read())), load_map(row))
    for name in ("PNG", "16-bit PNG"):
        with open(files[name].path(), "rb") as stream:
            assert stream.read(4) == b"\x89PNG"


def test_the_table_is_put_in_order_and_leads_to_best_and_worst(person):
    made = scored_world()
    page = open_as(
        person, made.owner, "mlcore_imageset_scores", made.image_set.pk, viewport={"width": 480, "height": 800}
    )
    rows = page.locator(".h-scores tbody tr th b")
    page.get_by_role("link", name="Pointing game").click()
    page.wait_for_url("**sort=pointing**")
    assert rows.all_inner_texts() == ["Layer-CAM", "Grad-CAM"]
    page.get_by_role("link", name="Pointing game").click()
    page.wait_for_url("**order=up**")
    assert rows.all_inner_texts() == ["Grad-CAM", "Layer-CAM"]
    folded = page.locator(".h-scores details").first
    assert not folded.locator("li").is_visible()
    folded.locator("summary").click()
    assert folded.locator("li").inner_text() == "2: no mask"
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")  # only the table scrolls
    scroller = page.locator(".h-scroll")
    scroller.evaluate("e => { e.scrollLeft = 200 }")
    left = page.locator(".h-scores tbody th").first.bounding_box()["x"]
    assert abs(left - scroller.bounding_box()["x"]) < 3  # the first column stays
    with page.expect_download() as waiting:
        page.get_by_role("link", name="CSV").click()
    with open(waiting.value.path(), encoding="utf-8") as stream:
        assert stream.readline().startswith("classifier,method")
    page.get_by_role("link", name="Grad-CAM").click()
    page.get_by_role("link", name="Best and worst images").click()
    values = page.locator(".h-tile figcaption b")
    assert values.all_inner_texts() == ["0.300", "0.200", "0.000", "0.100"]
    page.locator(".h-tile a").first.click()
    page.wait_for_function(LOADED)
    assert shown_name(page) == made.images[3].name


def test_ticking_a_method_shows_its_options_and_keeps_the_rest(person):
    made = scored_world()
    page = open_as(
        person, made.owner, "mlcore_run_start", query=f"?kind=explain&image_set={made.image_set.pk}",
        viewport={"width": 900, "height": 900},
    )  # fmt: skip
    page.get_by_label("Part", exact=True).select_option("all")
    page.locator("input[name=methods][value=rise]").check()
    masks = page.locator("[name='rise.masks']")
    masks.fill("40")
    page.locator("input[name=methods][value=lrp]").check()
    page.locator("[name='lrp.epsilon']").wait_for()
    assert masks.input_value() == "40"
    assert page.get_by_label("Part", exact=True).input_value() == "all"
    page.locator("input[name=methods][value=rise]").uncheck()
    page.wait_for_function("!document.querySelector(\"[name='rise.masks']\")")
    assert page.locator("input[name=methods][value=lrp]").is_checked()
