"""A study of attribution pairs: its cells, its pictures, and that a draft keeps them when it is changed."""

import pytest

from annotation.models import Assignment, Study
from annotation.pair_studies import create_pair_study, pair_sets_of
from annotation.publishing import StudyRefused, TrialItem, add_trials, copy_study, groups_of, publish
from annotation.redesign import redesign
from annotation.texts import texts_of
from tests.annotation.pairs import Cells, make_cells
from tests.annotation.test_blinding import CONSENT, PLAN, TELLING_HEADERS, crawl, secrets_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def cells() -> Cells:
    return make_cells()


def shown(study: Study) -> list[tuple[str, int, list[str], list[int]]]:
    """(condition, image, names, explanations) of every main trial, by condition and image."""
    trials = study.trials.filter(phase="main").select_related("arm").prefetch_related("stimuli")
    return sorted(
        (
            trial.arm.name if trial.arm else "",
            trial.image_id,
            [one.condition for one in trial.stimuli.all()],
            [one.explanation_id for one in trial.stimuli.all()],
        )
        for trial in trials
    )


def wanted(cells: Cells, together: bool = False) -> list[tuple[str, int, list[str], list[int]]]:
    return sorted(
        ("" if together else one.name, pair.image_id, ["original", "tuned"], [pair.original_id, pair.tuned_id])
        for one in cells.pair_sets
        for pair in one.pairs.all()
    )


def test_one_condition_a_cell_with_the_cells_own_images(cells):
    study = create_pair_study(cells.pair_sets, name="Two cells", owner=cells.owner)
    assert shown(study) == wanted(cells)
    assert (study.kind, study.conditions, study.image_once, study.main_trials) == ("preference", "within", True, 4)
    assert [(arm.name, arm.main_trials) for arm in study.arms.all()] == [(one.name, 2) for one in cells.pair_sets]
    assert {trial.context["class_name"] for trial in study.trials.all()} == {"Monarch"}
    settings = study.version.settings
    assert (settings["colormap"], settings["shown_class"]) == ("reds", "true")
    assert settings["groups"] == [
        {
            "name": one.name, "conditions": ["original", "tuned"], "pair_set": str(one.uuid), "metric": one.metric,
            "sets": [str(one.original.uuid), str(one.tuned.uuid)], "method": "grad_cam",
            "classifier": "Clandestine-Alpha",
        }
        for one in cells.pair_sets
    ]  # fmt: skip
    assert pair_sets_of(study) == cells.pair_sets
    publish(study, cells.owner)


def test_its_own_texts_are_german_for_german_readers(cells):
    version = create_pair_study(cells.pair_sets, name="Two cells", owner=cells.owner).version
    english, german = texts_of(version, "en"), texts_of(version, "de")
    assert (english.title, german.title) == ("Which map fits better?", "Welche Karte passt besser?")
    assert "the left map" in english.introduction[0]["text"]
    assert "die linke Karte" in german.introduction[0]["text"]
    assert german.settings["question"] == "Welche Karte passt besser?"
    own = create_pair_study(cells.pair_sets, name="Own words", owner=cells.owner, title="Look", plan={}).version
    assert (texts_of(own, "de").title, texts_of(own, "de").introduction) == ("Look", [])


def test_one_cell_stands_together(cells):
    cells.pair_sets = cells.pair_sets[1:]
    study = create_pair_study(cells.pair_sets, name="One cell", owner=cells.owner, answers_per_trial=3)
    assert (study.conditions, study.answers_per_trial) == ("together", 3)
    assert shown(study) == wanted(cells, together=True)
    assert study.version.settings["groups"][0]["pair_set"] == str(cells.pair_sets[0].uuid)


def test_practice_trials_bear_the_cells_names(cells):
    study = create_pair_study(cells.pair_sets, name="Two cells", owner=cells.owner)
    spare = cells.images[-1]
    (trial,) = add_trials(study, cells.owner, "practice", [TrialItem(spare, gold={"choice": "second"})])
    assert [one.condition for one in trial.stimuli.all()] == ["original", "tuned"]


def test_a_changed_draft_keeps_its_pairs(cells):
    study = create_pair_study(cells.pair_sets, name="Two cells", owner=cells.owner)
    groups = study.version.settings["groups"]
    arguments = {"kind": "preference", "name": "Two cells", "conditions": "within", "settings": {"shown_class": "true"}}
    changed = redesign(
        study, cells.owner, groups=groups_of(study), images=cells.images, answers_per_trial=5, **arguments
    )
    assert shown(changed) == wanted(cells)
    assert (changed.answers_per_trial, changed.version.settings["groups"]) == (5, groups)
    fewer = groups_of(changed)[:1]
    with pytest.raises(StudyRefused, match="attribution pairs"):
        redesign(changed, cells.owner, groups=fewer, images=cells.images, **arguments)
    copied = copy_study(changed, cells.owner, "again")
    assert shown(copied) == wanted(cells)
    assert copied.version.settings["groups"] == groups


def test_a_single_cell_keeps_its_pairs_too(cells):
    cells.pair_sets = cells.pair_sets[:1]
    study = create_pair_study(cells.pair_sets, name="One cell", owner=cells.owner)
    changed = redesign(
        study, cells.owner, kind="preference", name="One cell", explanation_sets=[cells.original, cells.tuned[0]],
        images=cells.images, conditions="together", answers_per_trial=2, settings={"shown_class": "true"},
    )  # fmt: skip
    assert shown(changed) == wanted(cells, together=True)


def test_no_pairs_are_refused(cells):
    with pytest.raises(StudyRefused, match="Choose the attribution pairs"):
        create_pair_study([], name="None", owner=cells.owner)


def test_nothing_of_a_pair_study_that_reaches_a_browser_names_a_condition_a_cell_or_a_classifier():
    cells = make_cells(each=4)
    study = create_pair_study(
        cells.pair_sets, name="Alpha against Beta", owner=cells.owner, plan=PLAN, consent=CONSENT, title="Maps"
    )
    publish(study, cells.owner)
    visitor = crawl(study)
    assert Assignment.objects.filter(participant__user=visitor.user, state="answered").count() == 8
    hidden = secrets_of(study) | {"clandestine", cells.owner.username.lower(), "original", "tuned"}
    hidden |= {arm.name.lower() for arm in study.arms.all()} | {str(one.uuid) for one in cells.pair_sets}
    for path, reply in visitor.seen:
        headers = "\n".join(f"{name}: {value}" for name, value in reply.headers.items())
        sent = (path + "\n" + headers).lower() + "\n" + reply.content.decode("latin-1").lower()
        assert not sorted(word for word in hidden if word in sent), path
        assert not {name.lower() for name in reply.headers} & TELLING_HEADERS
