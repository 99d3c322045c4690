"""A small team study played through every phase in Chromium by scripted people, then analysed and looked at."""

from argparse import Namespace

import pytest
from django.urls import reverse

from annotation import analysis
from annotation.models import Answer, Participant, StudyAnalysis
from annotation.people import add_researcher
from annotation.publishing import TrialItem, add_trials, close, create_study, publish
from annotation.studies.trials import Group
from bench.team_people import play_through
from mlcore.exchange.correspondences import add_correspondences
from mlcore.models import ImageLabel, Prediction
from tests.annotation.factories import UserFactory
from tests.browser.world import _compared, make_world

RATES = Namespace(seed=1, rejects=0.0, accepts=1.0, careless=0.0, shots=None)  # every wrong answer of the AI is taken


@pytest.fixture
def study(settings):
    """Neighbours with a vote of their own, and people alone: training 1, validation 2, test 4."""
    world = make_world(images=7)
    classifier = world.sets[0].classifier
    rows = [_compared(world.images, place, "matches") for place in range(7)]
    near = add_correspondences(
        classifier, world.image_set, rows, owner=None, method="emd_corr", payload="matches"
    )  # fmt: skip
    for place, image in enumerate(world.images):
        right = ImageLabel.objects.get(image=image).index
        vote = right if place % 2 else (right + 1) % len(world.image_set.classes)
        found = near.explanations.get(image=image)
        found.target, found.data = vote, found.data | {"confidence": 0.5 + place / 20}
        found.save()
    Prediction.objects.all().delete()
    made = create_study(
        kind="team", name="shapes", title="Which shape is it?", owner=None, image_set=world.image_set,
        images=world.images[3:], groups=[Group("parts", (near,)), Group("people alone", speaker=near, alone=True)],
        answers_per_trial=None,
        plan={"introduction": [{"title": "One", "text": "Names."}, {"title": "Two", "text": "Decide."}]},
    )  # fmt: skip
    add_trials(made, None, "practice", [TrialItem(world.images[0])])
    add_trials(made, None, "qualification", [TrialItem(image) for image in world.images[1:3]])
    return publish(made, None)


def test_scripted_people_go_through_every_phase_and_the_analysis_is_shown(person, browser, live_server, study):
    for number in (1, 2, 3, 4):
        given, outcome = play_through(browser, live_server.url, study, number, RATES)
        assert dict(given) == {"practice": 1, "qualification": 2, "main": 4}
        assert outcome == Participant.Outcome.COMPLETED
    assert set(study.participants.values_list("arm__name", "kind")) == {
        ("parts", "simulated"), ("people alone", "simulated"),
    }  # fmt: skip
    assert all(Answer.objects.values_list("duration_ms", flat=True)), "every trial's time is kept"
    close(study, None)
    row = analysis.request_analysis(study, ["simulated"])
    analysis.perform(str(row.uuid))
    found = StudyAnalysis.objects.get().result
    for one in found["conditions"]:
        assert (one["accuracy"]["ai_right"]["mean"], one["accuracy"]["ai_wrong"]["mean"]) == (1.0, 0.0)
        assert one["team"]["mean"] == pytest.approx(3 / 7), "as right as the AI that is always believed"
    rita = add_researcher(UserFactory().username)
    type(study).objects.filter(pk=study.pk).update(owner=rita)
    for width in (1440, 400):
        reader = person(viewport={"width": width, "height": 900})
        reader.known_as(rita)
        page = reader.open(reverse("admin:annotation_study_analysis", args=[study.pk]))
        page.get_by_text("These figures are of simulated people").wait_for()
        assert page.evaluate("[...document.querySelectorAll('.h-printed img')].every((one) => one.naturalWidth > 0)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
