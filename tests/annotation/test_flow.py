"""A person's way through a study: cards, entering, progress."""

import uuid

import pytest
from django.contrib.auth.models import AnonymousUser

from annotation import people
from annotation.answers import submit
from annotation.errors import StudyClosed
from annotation.flow import answered, enter, enter_as, next_step, progress, studies_for
from annotation.models import Answer, AnswerRevision, Assignment, Draft, Participant, Trial
from annotation.publishing import close
from annotation.studies import kind_of
from mlcore.models import AuditEntry, SupervisionSet
from tests.annotation import factories as make

pytestmark = pytest.mark.django_db


def play(person, number=1, **values):
    for _ in range(number):
        page = next_step(person).assignment
        submit(assignment=page, submission=uuid.uuid4(), payload=make.rating(page), **values)
    return page


def test_the_home_page_shows_live_studies_and_ones_own_progress():
    draft, fresh, begun, done = (make.ratings(4, k=None, live=live) for live in (False, True, True, True))
    user = make.annotator()
    play(enter(user, begun), 2, duration_ms=30_000)
    play(enter(user, done), 4)
    other = enter(make.annotator(), fresh)
    play(other, 3)
    close(done, None)
    close(draft_closed := make.ratings(1), None)
    cards = {card.study.pk: card for card in studies_for(user)}
    assert set(cards) == {fresh.pk, begun.pk, done.pk}
    assert (cards[fresh.pk].action, cards[fresh.pk].progress.answered) == ("start", 0)
    card = cards[begun.pk]
    assert (card.action, card.progress.answered, card.progress.total) == ("continue", 2, 4)
    assert card.progress.seconds_left == pytest.approx(60)
    assert card.progress.share == 0.5
    assert cards[done.pk].action == "closed"
    assert draft.pk not in cards
    assert draft_closed.pk not in cards
    assert cards[begun.pk].version.title == begun.name


def test_the_home_page_costs_the_same_queries_for_any_number_of_studies(django_assert_num_queries):
    user = make.annotator()
    for number in (1, 4):
        for _ in range(number):
            play(enter(user, make.ratings(2)), 1, duration_ms=5)
        with django_assert_num_queries(8):
            studies_for(people.get_user_model().objects.get(pk=user.pk))


def test_seconds_left_follow_ones_own_median():
    study = make.ratings(6, k=None)
    person = make.participant(study)
    assert progress(person).seconds_left is None
    for milliseconds in (1000, 2000, 90_000):
        play(person, 1, duration_ms=milliseconds)
    assert progress(person).seconds_left == pytest.approx(2 * 3)
    assert answered(person).count() == 3
    assert [a.answer.duration_ms for a in answered(person)] == [90_000, 2000, 1000]


def test_who_has_no_part_in_studies_sees_and_enters_nothing():
    study = make.ratings(1)
    stranger = make.UserFactory()
    assert studies_for(stranger) == []
    assert studies_for(AnonymousUser()) == []
    with pytest.raises(StudyClosed):
        enter(stranger, study)
    assert not Participant.objects.exists()
    superuser = make.UserFactory(is_superuser=True)
    assert len(studies_for(superuser)) == 1


def test_entering_comes_back_to_the_same_part_even_when_the_study_is_closed():
    study = make.ratings(1)
    user = make.annotator()
    person = enter(user, study)
    assert enter(user, study).pk == person.pk
    assert user.username not in person.pseudonym
    close(study, None)
    assert enter(user, study).pk == person.pk
    with pytest.raises(StudyClosed):
        enter(make.annotator(), study)
    with pytest.raises(StudyClosed, match="not begun"):
        enter(make.annotator(), make.ratings(1, live=False))


def test_scripted_people_come_back_under_their_name():
    study = make.ratings(1)
    first = enter_as(study, "scripted-1", "simulated", order_offset=5)
    assert (first.kind, first.user, first.order_offset) == ("simulated", None, 5)
    assert enter_as(study, "scripted-1", "simulated").pk == first.pk


def test_a_page_says_nothing_about_conditions():
    images = make.images(1)
    sets = [make.explain(images, classifier__name=name) for name in ("original secret", "tuned secret")]
    study = make.ratings(images=images, explanation_sets=sets)
    page = next_step(make.participant(study)).assignment
    context = kind_of(study).page_context(page)
    assert "secret" not in str(context)
    assert str(sets[0].uuid) not in str(context)
    assert [item["position"] for item in context["maps"]] == [0, 1]
    assert context["class_name"] == "Monarch"
    assert [question["name"] for question in context["questions"]] == ["necessary", "unnecessary", "quality"]


def test_maps_of_models_that_disagree_carry_their_class_to_their_place():
    images = make.images(1)
    sets = [make.explain(images, target=1), make.explain(images, target=2)]
    study = make.ratings(images=images, explanation_sets=sets)
    page = next_step(make.participant(study)).assignment
    page.order = [1, 0]
    context = kind_of(study).page_context(page)
    assert context["class_name"] is None
    assert [item["class_name"] for item in context["maps"]] == ["Zebra", "Monarch"]


def test_the_drawing_page_asks_for_the_class():
    study = make.drawings(1)
    page = next_step(make.participant(study)).assignment
    context = kind_of(study).page_context(page)
    assert context["prompt"].endswith("Monarch.")
    assert (context["width"], context["height"]) == (12, 8)


def test_roles():
    user = make.UserFactory()
    assert not people.may_answer(user)
    user = people.add_annotator(user.username)
    assert people.may_answer(people.get_user_model().objects.get(pk=user.pk))
    assert not user.is_staff
    study = make.ratings(1)
    assert people.may_manage(study.owner, study)
    assert not people.may_manage(make.researcher(), study)
    assert people.may_manage(make.UserFactory(is_superuser=True), study)
    assert people.add_researcher("new", "a long enough password").check_password("a long enough password")


def test_forgetting_a_person_gives_claims_back_and_marks_what_rests_on_them():
    study = make.ratings(3, k=2)
    person, other = make.participant(study), make.participant(study)
    play(person, 2)
    next_step(person)
    play(other)
    touched = SupervisionSet.objects.create(image_set=study.image_set, name="a", spec={"ratings": [str(study.uuid)]})
    apart = SupervisionSet.objects.create(image_set=study.image_set, name="b", source=uuid.uuid4())
    people.forget(person, study.owner)
    assert not Participant.objects.filter(pk=person.pk).exists()
    assert Answer.objects.count() == AnswerRevision.objects.count() == 1
    assert sum(Trial.objects.values_list("claims_left", flat=True)) == 3 * 2 - 1
    touched.refresh_from_db()
    apart.refresh_from_db()
    assert (touched.stale, apart.stale) == (True, False)
    entry = AuditEntry.objects.get(action="participant.forget")
    assert entry.after == {"answers": 2}
    assert person.pseudonym not in str(entry.after)


def test_forgetting_a_person_removes_every_drawing_and_draft(django_capture_on_commit_callbacks):
    from django.core.files.storage import default_storage

    from annotation.answers import save_draft

    study = make.drawings(2)
    person = make.participant(study)
    page = next_step(person).assignment
    for base, columns in ((None, 2), (1, 3)):
        submit(assignment=page, submission=uuid.uuid4(), payload={}, drawing=make.drawing(columns), base_revision=base)
    save_draft(next_step(person).assignment, {}, make.drawing(1))
    folder = f"drawn/{Answer.objects.get().uuid}"
    draft = Draft.objects.get().file.name
    assert len(default_storage.listdir(folder)[1]) == 2
    with django_capture_on_commit_callbacks(execute=True):
        people.forget(person, None)
    assert default_storage.listdir(folder)[1] == []
    assert not default_storage.exists(draft)


def test_leases_are_tidied_by_a_task():
    from datetime import timedelta

    from django.utils import timezone

    from annotation.tasks import tidy_leases

    study = make.ratings(2)
    next_step(make.participant(study))
    kept = next_step(make.participant(study)).assignment
    Assignment.objects.exclude(pk=kept.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert tidy_leases() == 1
    assert sorted(Assignment.objects.values_list("state", flat=True)) == ["expired", "open"]
