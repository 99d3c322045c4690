"""A study is looked at, copied, changed and put live; what stands in the way is said."""

import pytest

from annotation import flow, versions
from annotation.assignment import peek
from annotation.entry import end_preview, participation, start_preview
from annotation.errors import EntryRefused, PlanInvalid, StudyRefused
from annotation.flow import next_step
from annotation.models import Participant, Study, Trial
from annotation.publishing import TrialItem, add_trials, close, copy_study, problems, publish
from annotation.texts import texts_of
from tests.annotation import factories as make
from tests.annotation.way import answer, kind_of_step, study

pytestmark = pytest.mark.django_db


def test_a_preview_takes_no_place_and_is_forgotten():
    made = study(2, k=1, live=False)
    owner = made.owner
    person = start_preview(owner, made)
    answer(person)
    assert kind_of_step(person) == "trial"
    assert set(Trial.objects.values_list("claims_left", flat=True)) == {1}
    with pytest.raises(EntryRefused):
        start_preview(make.annotator(), made)
    publish(made, owner)
    assert not Participant.objects.exists(), "publishing forgets what was looked at"
    person = start_preview(owner, made)
    taker = make.participant(made)
    answer(taker), answer(taker)
    answer(person), answer(person)
    assert kind_of_step(person) == "done"
    assert participation(owner, made) is None
    end_preview(owner, made)
    assert set(Trial.objects.values_list("claims_left", flat=True)) == {0}


def test_what_keeps_a_draft_from_going_live_is_said_all_at_once():
    made = study(
        2, live=False, k=1, trials_per_person=5, phases=[("check", 1)],
        plan={"people": {"accounts": False, "prolific": True}},
    )  # fmt: skip
    Trial.objects.filter(phase="check").update(gold=None)
    found = problems(made)
    assert len(found) == 3, found
    with pytest.raises(StudyRefused) as refused:
        publish(made, made.owner)
    assert all(sentence in refused.value.sentence for sentence in found)
    assert Study.objects.get().state == "draft"


def test_trials_are_added_to_drafts_only_and_all_or_none():
    made = study(2, live=False)
    picture = Trial.objects.first().image
    other = make.images(1)[0]
    with pytest.raises(StudyRefused, match="Trial 2"):
        add_trials(made, made.owner, "practice", [TrialItem(picture), TrialItem(other)])
    assert not Trial.objects.filter(phase="practice").exists()
    publish(made, made.owner)
    with pytest.raises(StudyRefused, match="Copy it"):
        add_trials(made, made.owner, "practice", [TrialItem(picture)])


def test_a_copy_asks_the_same_of_nobody_yet():
    pictures = make.images(3)
    sets = [make.explain(pictures) for _ in range(2)]
    made = make.ratings(
        images=pictures, explanation_sets=sets, conditions="within", k=2, live=False, consent="Agree?",
        plan={"exit": [{"name": "a", "question": "?"}]},
    )  # fmt: skip
    add_trials(made, made.owner, "practice", [TrialItem(pictures[0])])
    publish(made, made.owner)
    person = make.participant(made)
    flow.give_consent(person, True)
    answer(person)
    answer(person)
    twin = copy_study(made, made.owner, "Once more")
    assert (twin.state, twin.participants.count(), twin.trials.count()) == ("draft", 0, 7)
    assert {trial.claims_left for trial in twin.trials.filter(phase="main")} == {2}
    assert twin.version.consent == "Agree?"
    assert twin.version.plan == made.version.plan
    assert not set(twin.trials.values_list("uuid", flat=True)) & set(made.trials.values_list("uuid", flat=True))
    names = [set(one.trials.values_list("stimuli__picture", flat=True)) for one in (made, twin)]
    assert not names[0] & names[1]
    assert twin.join_key != made.join_key
    publish(twin, made.owner)
    assert made.trials.count() == 7
    other = make.participant(twin)
    flow.give_consent(other, True)
    assert next_step(other).assignment.trial.study_id == twin.pk


def test_texts_of_a_live_study_change_and_its_rules_do_not():
    made = study(1)
    new = versions.revise(made, made.owner, title="Better words", plan={"introduction": [{"text": "Hello."}]})
    assert (new.number, made.version.title) == (2, "Better words")
    assert Study.objects.get().version == new
    for part in ({"qualification": {"tries": 3}}, {"checks": {"allowed_misses": 5}}, {"replace": []}):
        with pytest.raises(StudyRefused, match="live"):
            versions.revise(made, made.owner, plan=part)
    with pytest.raises(PlanInvalid):
        versions.revise(made, made.owner, plan={"exit": [{"question": ""}]})
    close(made, made.owner)
    with pytest.raises(StudyRefused, match="closed"):
        versions.revise(made, made.owner, title="Too late")


def test_texts_come_in_the_readers_language_as_far_as_they_were_written():
    made = study(
        1, live=False, consent="Agree?",
        plan={
            "introduction": [{"title": "One", "text": "First"}, {"title": "Two", "text": "Second"}],
            "exit": [{"name": "g", "kind": "choice", "question": "Which?", "choices": ["a", "b"]}],
        },
        translations={
            "de": {
                "title": "Wohin blickt es?", "introduction": [{"text": "Erstens"}],
                "exit": [{"question": "Welches?", "choices": ["A", "B"]}], "settings": {"question_quality": "Wie gut?"},
            }
        },
    )  # fmt: skip
    german, english = texts_of(made.version, "de-at"), texts_of(made.version, "en")
    assert german.title == "Wohin blickt es?"
    assert german.consent == english.consent == "Agree?"
    assert [page["text"] for page in german.introduction] == ["Erstens", "Second"]
    assert german.introduction[0]["title"] == "One"
    assert german.exit[0] | {} == {
        "name": "g", "kind": "choice", "question": "Welches?", "choices": ["a", "b"], "labels": ["A", "B"],
        "required": True,
    }  # fmt: skip
    assert german.settings["question_quality"] == "Wie gut?"
    assert english.settings["question_quality"] != "Wie gut?"


def test_the_next_trials_are_seen_ahead_without_being_taken():
    made = study(5, k=1)
    person = make.participant(made)
    now = next_step(person).assignment
    ahead = peek(Participant.objects.select_related("study").get(pk=person.pk), 2)
    assert len(ahead) == 2
    assert now.trial not in ahead
    assert sum(Trial.objects.values_list("claims_left", flat=True)) == 4
    for expected in ahead:
        answer(person)
        assert next_step(person).assignment.trial == expected
