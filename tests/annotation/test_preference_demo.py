"""The study that is shipped comes in, says what the README says, and is answered."""

import re
import zipfile

from django.conf import settings

from annotation.answers import submit
from annotation.api.pictures import map_bytes
from annotation.exchange.bundle import FIXTURE, MANIFEST
from annotation.exchange.bundle_import import import_bundle
from annotation.flow import next_step
from annotation.management.commands.preference_demo import METRICS, NAME, PAIRS
from annotation.models import Stimulus
from annotation.pair_studies import pair_sets_of
from tests.annotation.factories import participant, researcher

PATH = settings.BASE_DIR / "fixtures" / "preference_demo.zip"


def test_it_is_small_and_holds_nothing_else() -> None:
    assert PATH.stat().st_size <= 300_000
    with zipfile.ZipFile(PATH) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {FIXTURE, MANIFEST, "media"}


def test_it_comes_in_and_is_answered(db) -> None:
    owner = researcher()
    (study,) = import_bundle(PATH, owner=owner).studies
    assert (study.name, study.state, study.owner, study.main_trials) == (NAME, "live", owner, PAIRS * len(METRICS))
    cells = pair_sets_of(study)
    assert [cell.metric for cell in cells] == list(METRICS)
    for one in Stimulus.objects.select_related("trial__image", "explanation"):
        assert map_bytes(one).startswith(b"\x89PNG")
    person, answered = participant(study, phase="main"), 0
    while (step := next_step(person)).kind == "trial":
        submit(assignment=step.assignment, submission=step.assignment.uuid, payload={"choice": "a"}, duration_ms=900)
        answered += 1
    assert answered == study.main_trials


def test_the_readme_states_what_is_in_it(db) -> None:
    (study,) = import_bundle(PATH, owner=researcher()).studies
    readme = (settings.BASE_DIR / "fixtures" / "README.md").read_text()
    said = [tuple(map(float, pair)) for pair in re.findall(r"(0\.\d+) → (0\.\d+)", readme)]
    means = []
    for cell in pair_sets_of(study):
        values = list(cell.pairs.values_list("before", "after"))
        means.append(tuple(round(sum(column) / len(values), 3) for column in zip(*values, strict=True)))
    assert said == means
