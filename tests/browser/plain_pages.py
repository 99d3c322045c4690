"""Pages of the plain kind for tests: live studies of it, a whole answer by hand, and what the device keeps."""

from collections.abc import Callable, Iterator
from typing import Any

from annotation.making import TrialItem, add_trials
from annotation.publishing import create_study, publish
from annotation.studies import register, unregister
from tests.browser.plain_kind import TEMPLATES, Plain

COMPLETE = {
    "maps": [{"position": 0, "good": True, "kind": "fish"}],
    "certain": False,
    "number": 3,
    "sharp": 0,
    "odd": False,
    "seen": True,
}
RECORDS = """() => new Promise((resolve) => {
  const opening = indexedDB.open('harmony', 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore('work', { keyPath: 'assignment' });
  opening.onsuccess = () => {
    const asked = opening.result.transaction('work').objectStore('work').getAll();
    asked.onsuccess = () => { opening.result.close(); resolve(asked.result); };
  };
})"""
KEEP = """(record) => new Promise((resolve) => {
  const opening = indexedDB.open('harmony', 1);
  opening.onsuccess = () => {
    const writing = opening.result.transaction('work', 'readwrite');
    writing.objectStore('work').put(record);
    writing.oncomplete = () => { opening.result.close(); resolve(); };
  };
})"""


def live_studies(world: Any, settings: Any) -> Iterator[Callable[..., Any]]:
    """For a fixture: a function that makes live studies of the plain kind, which is known until the test ends."""
    engine = dict(settings.TEMPLATES[0])
    settings.TEMPLATES = [engine | {"DIRS": [*engine["DIRS"], TEMPLATES]}]
    register(Plain())

    def make(images: int = 2, practice: dict[str, str] | None = None) -> Any:
        study = create_study(
            kind="plain", name=f"Plain {images}", title="What is it?", owner=None, image_set=world.image_set,
            images=world.images[:images], explanation_sets=world.sets,
        )  # fmt: skip
        if practice:
            add_trials(study, None, "practice", [TrialItem(world.images[2], gold=practice, feedback="Mind the wing.")])
        return publish(study, None)

    yield make
    unregister("plain")


def fill(page: Any) -> None:
    """Everything that has to be said, by mouse and keys."""
    page.keyboard.press("ArrowUp")
    page.keyboard.press("n")
    page.get_by_label("Kind").select_option("fish")
    page.get_by_label("How many?").fill("3")
    page.get_by_label("How sharp?").click()  # in the middle, where it stands already
    page.get_by_label("I looked").check()
    page.get_by_label("I looked").blur()


def answered(before: str) -> Any:
    return lambda url: url != before
