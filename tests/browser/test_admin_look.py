"""The researcher looks at a picture: uploads it, sees the map, asks for another class and method without leaving."""

import threading
from collections.abc import Iterator

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from mlcore.models import Classifier, Inquiry, Worker
from mlcore.runs.inquiries import answer
from tests.annotation.factories import researcher
from tests.browser.test_accessibility import AXE, RUN
from tests.browser.world import make_world
from tests.mlcore.runs.asked import own_server, weights

LOADED = "[...document.querySelectorAll('[data-layers] img')].every(i => i.complete && i.naturalWidth > 0)"
SHOWN = "src => { const l = document.querySelector('.h-layer'); return l && l.getAttribute('src') !== src; }"
REFUSED = "status of 422"


@pytest.fixture
def working() -> Iterator[None]:
    """A worker in a thread: it takes what waits, as the real one takes messages."""
    Worker.objects.create(name="here:1", queues="interactive", seen=timezone.now())
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.05):
            for uuid in list(Inquiry.objects.filter(state="waiting").values_list("uuid", flat=True)):
                answer(str(uuid))
        connection.close()

    with own_server():
        thread = threading.Thread(target=work)
        thread.start()
        yield
        stop.set()
        thread.join()


def a_world():
    """Scenes of a researcher, and a classifier of two classes that can be asked."""
    world = make_world(images=3)
    owner = researcher()
    world.image_set.owner = owner
    world.image_set.save()
    classifier = Classifier(
        name="small", owner=owner, architecture="sixconv", classes=["ellipse", "triangle"],
        transform={"image_size": 64, "resize": "squash", "normalise": "imagenet"},
    )  # fmt: skip
    classifier.weights.save("w.safetensors", ContentFile(weights()), save=True)
    return world, owner, classifier


def look(person, owner, classifier, name: str = "look", **options):
    one = person(**options)
    one.known_as(owner)
    one.expected.append(REFUSED)  # the browser tells of a refused form; the page says why
    return one.open(reverse(f"admin:mlcore_classifier_{name}", args=[classifier.pk]))


def violations(page) -> list[str]:
    """Of our own part of the page; the frame around it is the admin's."""
    page.evaluate(AXE)
    return page.evaluate(RUN.replace("axe.run(document,", "axe.run('.h-page',"), False)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (360, "dark")])
def test_a_picture_is_looked_at_and_asked_again(person, working, width, scheme) -> None:
    world, owner, classifier = a_world()
    page = look(person, owner, classifier, viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.set_default_timeout(60_000)  # the first answer loads PyTorch
    assert violations(page) == []
    with world.images[0].file.open("rb") as stream:
        page.get_by_label("A picture of yours").set_input_files(
            {"name": "mine.png", "mimeType": "image/png", "buffer": stream.read()}
        )
    page.get_by_role("button", name="Look", exact=True).click()
    page.wait_for_selector(".h-layer")
    page.wait_for_function(LOADED)
    assert "mine.png" in page.locator(".h-look-stage").inner_text()
    buttons = page.locator(".h-says-one")
    assert buttons.count() == 2
    assert buttons.first.get_attribute("aria-current") == "true"
    box, picture = page.locator(".h-layer").bounding_box(), page.locator(".h-layers img").first.bounding_box()
    assert box == picture
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert violations(page) == []

    # The other class, by keyboard: no upload, the same picture, another map.
    first = page.locator(".h-layer").get_attribute("src")
    page.locator("[data-opacity]").fill("25")
    buttons.nth(1).focus()
    page.keyboard.press("Enter")
    page.wait_for_function(SHOWN, arg=first)
    assert buttons.nth(1).get_attribute("aria-current") == "true"
    assert page.locator(".h-layer").evaluate("e => getComputedStyle(e).opacity") == "0.25"
    assert "opacity=25" in page.url
    assert Inquiry.objects.count() == 2
    assert len({row.picture.name for row in Inquiry.objects.all()}) == 1

    # A class by its name, as it is typed.
    second = page.locator(".h-layer").get_attribute("src")
    other = page.locator(".h-says-name").first.inner_text()
    page.get_by_label("Class", exact=True).fill(other[:5])
    page.keyboard.press("Enter")
    page.wait_for_function(SHOWN, arg=second)
    assert page.get_by_label("Class", exact=True).input_value() == other
    page.get_by_label("Class", exact=True).fill("unicorn")
    page.keyboard.press("Enter")
    page.get_by_text("There is no class “unicorn”").wait_for()
    assert page.locator(".h-layer").count() == 1  # the map stays

    # Another method brings its own options.
    page.get_by_label("Class", exact=True).fill("")
    page.get_by_label("Method").select_option("smooth_grad")
    page.get_by_text("SmoothGrad of").wait_for()
    page.locator("#look-options summary").click()
    assert page.get_by_label("Noisy copies").is_visible()

    # The bare picture while O is held, and the way back.
    page.locator(".h-says-one").first.focus()
    page.keyboard.down("o")
    assert page.locator(".h-layer").evaluate("e => getComputedStyle(e).visibility") == "hidden"
    page.keyboard.up("o")
    shown = page.locator(".h-layer").get_attribute("src")
    page.go_back()
    page.wait_for_function(SHOWN, arg=shown)
    assert page.locator(".h-says-one[aria-current=true]").count() == 1


def test_an_image_of_the_set_is_picked_and_drawn_in_another_style(person, working) -> None:
    world, owner, classifier = a_world()
    page = look(person, owner, classifier)
    page.set_default_timeout(60_000)
    page.locator(f"input[name=image][value='{world.images[1].pk}']").focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Look", exact=True).click()
    page.wait_for_selector(".h-layer")
    first = page.locator(".h-layer").get_attribute("src")
    page.get_by_label("Style").select_option("spotlight")
    page.wait_for_function(SHOWN, arg=first)
    page.wait_for_function(LOADED)
    assert "style=spotlight" in page.url
    with page.expect_download() as waiting:
        page.get_by_role("link", name=".npy").click()
    assert waiting.value.suggested_filename.endswith(".npy")
    page.get_by_role("link", name="Another picture").click()
    page.get_by_label("A picture of yours").wait_for()


def test_layers_come_by_themselves_and_are_copied(person, working) -> None:
    _, owner, classifier = a_world()
    page = look(person, owner, classifier, name="layers", viewport={"width": 360, "height": 800}, color_scheme="dark")
    page.set_default_timeout(60_000)
    page.locator("#tame-layers").wait_for()
    assert page.locator("#tame-layers").inner_text() == "features.5,features.11,features"
    assert page.locator(".h-table").first.locator("tbody tr").count() == 19
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")  # only the table scrolls
    page.get_by_role("button", name="Channels").first.click()  # sorting works after the page has come by itself
    assert page.locator(".h-table").first.locator("tbody tr td").nth(1).inner_text() == "16"
    assert violations(page) == []


def test_without_its_script_forms_and_reloading_are_enough(person, working) -> None:
    """The admin's frame is hidden where no script runs at all; ours may fail to come."""
    world, owner, classifier = a_world()
    one = person()
    one.known_as(owner)
    one.expected.append("ask.*js")
    one.page.route("**/ask*.js", lambda route: route.abort())
    page = one.open(reverse("admin:mlcore_classifier_look", args=[classifier.pk]))
    page.locator(f"input[name=image][value='{world.images[0].pk}']").check(force=True)
    page.get_by_role("button", name="Look", exact=True).click()
    for _ in range(300):
        if page.locator(".h-layer").count():
            break
        page.wait_for_timeout(200)
        page.reload()
    assert page.locator(".h-layer").count() == 1


def test_where_no_worker_lives_the_page_says_what_to_start(person) -> None:
    world, owner, classifier = a_world()
    page = look(person, owner, classifier)
    page.locator(f"input[name=image][value='{world.images[0].pk}']").check(force=True)
    page.get_by_role("button", name="Look", exact=True).click()
    page.get_by_text("No worker answers questions.").wait_for()
    row = Inquiry.objects.get()
    Inquiry.objects.filter(pk=row.pk).update(state="failed", reason="It went dark.")
    page.get_by_text("It went dark.").wait_for()
