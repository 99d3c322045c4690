"""A study is made, published and closed; every refusal says why."""

import numpy as np
import pytest

from annotation.errors import StudyRefused
from annotation.models import Stimulus, Study, StudyVersion, Trial
from annotation.publishing import close, create_study, publish
from annotation.studies.trials import condition_names
from mlcore.models import AuditEntry, Explanation, ImageLabel, Prediction
from mlcore.models.base import ImmutableError
from tests.annotation import factories as make

pytestmark = pytest.mark.django_db


def refusal(**values) -> str:
    values = {"kind": "reasonability", "name": "Ratings", "owner": None} | values
    with pytest.raises(StudyRefused) as refused:
        create_study(**values)
    assert not Study.objects.exists()
    assert not Trial.objects.exists()
    return refused.value.sentence


def test_a_study_of_two_models_has_a_trial_an_image_and_a_stimulus_a_model():
    images = make.images(3)
    sets = [make.explain(images, classifier__name="before"), make.explain(images, classifier__name="after")]
    owner = make.researcher()
    study = create_study(kind="reasonability", name="Ratings", owner=owner, explanation_sets=sets, answers_per_trial=2)
    assert (study.state, study.image_set) == ("draft", images[0].image_set)
    assert {trial.image_id for trial in study.trials.all()} == {image.pk for image in images}
    for trial in study.trials.all():
        stimuli = list(trial.stimuli.all())
        assert [(s.slot, s.condition, s.explanation.set_id) for s in stimuli] == [
            (0, "before", sets[0].pk), (1, "after", sets[1].pk),
        ]  # fmt: skip
        assert all(s.explanation.image_id == trial.image_id for s in stimuli)
        assert trial.context == {"shown": "predicted", "class_name": "Monarch", "class_names": ["Monarch", "Monarch"]}
    assert Stimulus.objects.values("picture").distinct().count() == 6
    version = study.version
    assert version.settings["trials"] == 3
    assert version.settings["explanation_sets"] == [str(item.uuid) for item in sets]
    assert version.settings["question_necessary"]
    assert AuditEntry.objects.get().action == "study.create"
    with pytest.raises(ImmutableError):
        version.save()


def test_models_that_disagree_are_named_map_by_map():
    images = make.images(1)
    sets = [make.explain(images, target=1), make.explain(images, target=2)]
    study = create_study(kind="reasonability", name="Ratings", owner=None, explanation_sets=sets)
    assert study.trials.get().context == {
        "shown": "predicted", "class_name": None, "class_names": ["Monarch", "Zebra"],
    }  # fmt: skip


def test_the_prediction_counts_before_the_class_that_a_map_explains():
    images = make.images(1)
    made = make.explain(images, target=1)
    Prediction.objects.update(label=2)
    study = create_study(kind="reasonability", name="Ratings", owner=None, explanation_sets=[made])
    assert study.trials.get().context["class_name"] == "Zebra"
    Prediction.objects.all().delete()
    study = create_study(kind="reasonability", name="Ratings", owner=None, explanation_sets=[made])
    assert study.trials.get().context["class_name"] == "Monarch"


def test_only_images_that_every_set_explains_are_shown_unless_images_are_chosen():
    images = make.images(3)
    sets = [make.explain(images), make.explain(images[:2])]
    study = create_study(kind="reasonability", name="Ratings", owner=None, explanation_sets=sets)
    assert study.trials.count() == 2
    with pytest.raises(StudyRefused, match=images[2].name):
        create_study(kind="reasonability", name="R", owner=None, explanation_sets=sets, images=images)


def test_a_map_that_is_not_finite_is_left_out_and_counted():
    images = make.images(3)
    made = make.explain(images)
    Explanation.objects.filter(image=images[1]).update(status="nonfinite")
    study = create_study(kind="reasonability", name="Ratings", owner=None, explanation_sets=[made])
    assert study.trials.count() == 2
    assert study.version.settings["left_out"] == {"a map that is not finite": 1}
    Explanation.objects.update(status="nonfinite")
    Study.objects.all().delete()
    assert "3 have a map that is not finite" in refusal(explanation_sets=[made])


def test_drawing_names_the_true_class_and_needs_no_maps():
    images = make.images(2, label=2)
    ImageLabel.objects.create(image=images[0], index=0)
    study = create_study(kind="map_drawing", name="Draw", owner=None, image_set=images[0].image_set)
    assert study.trials.get(image=images[0]).context["class_name"] == "Admiral, Zebra"
    assert study.trials.get(image=images[1]).context["class_name"] == "Zebra"
    assert not Stimulus.objects.exists()
    assert study.answers_per_trial == 1


def test_the_order_of_trials_follows_from_the_seed():
    images = make.images(6)

    def order(seed: int) -> list[int]:
        study = make.drawings(images=images, seed=seed)
        return list(study.trials.order_by("random_key").values_list("image_id", flat=True))

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_what_is_wrong_is_said():
    images = make.images(2)
    made = make.explain(images)
    other = make.explain(make.images(1))
    unlabelled = make.images(1, label=None)
    sets = {"explanation_sets": [made]}
    assert "unheard-of" in refusal(kind="unheard-of")
    assert "name" in refusal(name="  ", **sets)
    assert "160" in refusal(name="x" * 161, **sets)
    assert "at least one" in refusal()
    assert "At most 4" in refusal(explanation_sets=[make.explain(images) for _ in range(5)])
    assert "twice" in refusal(explanation_sets=[made, made])
    assert "one set" in refusal(explanation_sets=[made, other])
    assert "Answers per trial" in refusal(answers_per_trial=0, **sets)
    assert "Answers per trial" in refusal(answers_per_trial=True, **sets)
    assert "seed" in refusal(seed=-1, **sets)
    assert "opacity" in refusal(settings={"opacity": 2}, **sets)
    assert "colour" in refusal(settings={"colour": "red"}, **sets)
    assert "does not belong" in refusal(images=unlabelled, **sets)
    assert "no label" in refusal(kind="map_drawing", images=unlabelled, image_set=unlabelled[0].image_set)
    assert "No image" in refusal(kind="map_drawing", image_set=make.ImageSetFactory())
    assert "what a model says" in refusal(
        kind="map_drawing", image_set=images[0].image_set, settings={"shown_class": "predicted"}
    )
    silent = make.explain(images, target=1, predict=False)
    silent.target = "true"
    silent.save()
    assert "no prediction" in refusal(explanation_sets=[silent])


def test_a_study_is_published_once_and_closed_once():
    study = make.ratings(1, live=False)
    actor = make.researcher()
    with pytest.raises(StudyRefused, match="never published"):
        close(study, actor)
    publish(study, actor)
    assert study.state == "live"
    assert study.published is not None
    with pytest.raises(StudyRefused, match="already published"):
        publish(study, actor)
    close(study, actor)
    with pytest.raises(StudyRefused, match="already closed"):
        close(study, actor)
    with pytest.raises(StudyRefused, match="closed"):
        publish(study, actor)
    written = AuditEntry.objects.filter(action__in=["study.publish", "study.close"]).order_by("pk")
    assert [(entry.action, entry.before, entry.after, entry.actor) for entry in written] == [
        ("study.publish", {"state": "draft"}, {"state": "live"}, actor),
        ("study.close", {"state": "live"}, {"state": "closed"}, actor),
    ]


def test_a_study_without_trials_or_texts_is_not_published():
    study = make.ratings(1, live=False)
    Trial.objects.all().delete()
    with pytest.raises(StudyRefused, match="no trials"):
        publish(study, None)
    StudyVersion.objects.all().delete()
    with pytest.raises(StudyRefused, match="no texts"):
        publish(study, None)


def test_conditions_have_different_names():
    images = make.images(1)
    one = make.ClassifierFactory(name="x" * 100)
    same = [make.explain(images, classifier=one, predict=False) for _ in range(3)]
    names = condition_names(same)
    assert len(set(names)) == 3
    assert all(len(name) <= 80 for name in names)


def test_a_hundred_images_cost_no_more_queries_than_ten(django_assert_max_num_queries):
    maps = np.ones((60, 2, 2), dtype=np.float32)
    images = make.images(60)
    made = make.explain(images, maps=maps)
    with django_assert_max_num_queries(14):
        create_study(kind="reasonability", name="Ratings", owner=None, explanation_sets=[made])
