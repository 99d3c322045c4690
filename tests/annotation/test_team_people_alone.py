"""People alone: the page asks whether the picture shows the class, and nothing anywhere speaks of an AI."""

import html
import re

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import translation

from annotation.errors import StudyRefused
from annotation.flow import next_step
from annotation.models import Trial
from annotation.publishing import TrialItem, add_trials, problems, publish, revise
from annotation.studies import kind_of
from annotation.studies.base import Cleaned
from annotation.studies.trials import Group
from mlcore.models import ImageLabel
from tests.annotation import factories as make
from tests.annotation.test_team import ACCEPT, REJECT, send, trial_of

pytestmark = pytest.mark.django_db
WORDS = re.compile(r"\b(AI|KI|classifier|model|confidence|neighbours?|squeezenet|knn)\b")


def study_of(**values):
    images = values.pop("images", None) or make.images(3)
    shown = make.compare(images, payload="matches")
    values = {"name": "birds", "live": False, "k": None} | values
    return make.team(images=images, groups=[Group("parts", (shown,)), Group("by themselves", alone=True)], **values)


def alone(study):
    person = make.participant(study)
    while person.arm.name != "by themselves":
        person = make.participant(study)
    return person


def page_of(assignment, language: str = "en") -> str:
    client = Client(headers={"accept-language": language})
    client.force_login(assignment.participant.user)
    return html.unescape(client.get(reverse("trial", args=[assignment.uuid])).content.decode())


@pytest.fixture(autouse=True)
def _english():
    with translation.override("en"):
        yield


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_page_names_the_class_and_nothing_of_an_ai(language):
    study = study_of()
    publish(study, study.owner)
    page = page_of(trial_of(study, alone(study)), language)
    assert "Monarch" in page
    assert ("Is this a Monarch?" if language == "en" else "Zeigt das Bild das: Monarch?") in page
    assert not WORDS.search(page), WORDS.search(page)
    assert "% sure" not in page
    assert "% sicher" not in page


def test_both_arms_ask_about_the_same_names_of_the_same_images():
    study = study_of()
    names = {
        arm.name: [trial.context["class_name"] for trial in arm.trials.order_by("image")] for arm in study.arms.all()
    }
    assert names["parts"] == names["by themselves"] == ["Monarch"] * 3
    assert not Trial.objects.filter(arm__name="by themselves", context__has_key="confidence").exists()
    assert not Trial.objects.filter(arm__name="by themselves", stimuli__isnull=False).exists()


def test_practice_tells_what_it_is_without_an_ai():
    study = study_of()
    image = study.trials.first().image
    ImageLabel.objects.filter(image=image).update(index=0)
    add_trials(study, study.owner, "practice", [TrialItem(image)])
    publish(study, study.owner)
    assignment, kind = trial_of(study, alone(study)), kind_of(study)
    gold = assignment.trial.gold["answer"]
    assert gold == {"accept": False}
    said = [kind.grade(assignment, Cleaned(payload), gold).sentence for payload in (REJECT, ACCEPT)]
    assert said == ["Right. It is an Admiral.", "Not quite: it is an Admiral."]
    ImageLabel.objects.all().delete()
    said = [kind.grade(assignment, Cleaned(payload), gold).sentence for payload in (REJECT, ACCEPT)]
    assert said == ["Right. The name is wrong here.", "Not quite: the name is wrong here."]


def test_what_everyone_reads_says_nothing_of_an_ai():
    study = study_of(title="Is the AI right?")
    assert problems(study) == ["People alone read the title too: say nothing of an AI or a classifier there."]
    with pytest.raises(StudyRefused, match="People alone read the title"):
        publish(study, study.owner)
    pages = [{"title": "", "text": "A classifier named these."}]
    revise(study, None, title="Birds", plan={"introduction": pages}, translations={"de": {"task": "Hat die KI recht?"}})
    assert problems(study) == [
        "People alone read the task, the introduction's page 1 too: say nothing of an AI or a classifier there."
    ]
    revise(study, None, plan={}, translations={})
    assert problems(study) == []
    assert study.version.task == "Look at the picture and at the name beside it, and say whether the name is right."
    item = TrialItem(study.trials.first().image, feedback="The AI is wrong.")
    add_trials(study, study.owner, "practice", [item])
    assert problems(study) == [
        "People alone read the feedback of a trial too: say nothing of an AI or a classifier there."
    ]


def test_words_that_only_look_like_an_ai_are_none():
    assert problems(study_of(title="Aichi and kiwis: is it a kite?")) == []


def test_people_alone_are_an_arm_of_their_own():
    study = study_of(conditions="within")
    assert problems(study) == ["People alone need an arm of their own: let conditions stand between people."]
    images = make.images(2)
    shown = make.compare(images)
    with pytest.raises(StudyRefused, match="shown nothing of an AI"):
        make.team(images=images, groups=[Group("a", (shown,), alone=True), Group("b", (shown,))])


def test_their_figures_stand_beside_the_teams():
    images = make.images(2)
    ImageLabel.objects.filter(image=images[1]).update(index=2)
    study = study_of(images=images)
    publish(study, study.owner)
    person = alone(study)
    while (step := next_step(person)).kind == "trial":
        send(step.assignment, REJECT)
    found = {one["condition"]: one for one in kind_of(study).statistics(study)["conditions"]}
    mine = found["by themselves"]
    assert (mine["alone"], found["parts"]["alone"]) == (True, False)
    assert (mine["accuracy"]["ai_right"]["mean"], mine["accuracy"]["ai_wrong"]["mean"]) == (0.0, 1.0)
    assert mine["team"]["mean"] == 0.5, "weighed with how often the name is right"
    assert kind_of(study).in_words(step_of(person)) == ["the name is wrong"]


def step_of(person):
    return person.assignments.select_related("answer", "trial").first()
