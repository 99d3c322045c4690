"""Ways into a study: recruiting ids, invitations, guests, and which condition people are given."""

from datetime import timedelta

import pytest
from django.utils import timezone

from annotation import completion
from annotation.entry import enter_guest
from annotation.errors import EntryRefused, StudyClosed, StudyRefused
from annotation.invitations import accept, come_back, find, invite, return_token, revoke, token
from annotation.models import Participant
from annotation.people import forget, is_guest
from annotation.publishing import publish
from mlcore.models import AuditEntry
from tests.annotation import factories as make
from tests.annotation.way import answer, kind_of_step, study

pytestmark = pytest.mark.django_db


def test_a_recruiting_id_is_one_participation_and_never_a_name():
    made = study(2, plan={"people": {"prolific": True}, "completion": {"codes": {"completed": "C"}}})
    first = enter_guest(made, external_id="5f0c", session={"SESSION_ID": "s"})
    assert enter_guest(made, external_id="5f0c").pk == first.pk
    assert enter_guest(made, external_id="aaaa").pk != first.pk
    assert "5f0c" not in first.pseudonym + first.user.username
    assert is_guest(first.user)
    assert not first.user.has_usable_password()
    completion.give_back(first)
    assert enter_guest(made, external_id="5f0c").outcome == "returned", "whoever returned does not begin anew"


def test_a_guest_who_is_forgotten_leaves_no_login():
    made = study(1)
    person = enter_guest(made, nickname="Ada")
    user = person.user
    forget(person, made.owner)
    assert not type(user).objects.filter(pk=user.pk).exists()
    assert AuditEntry.objects.filter(action="participant.forget").count() == 1


def test_an_invitation_is_for_one_person():
    made = study(2, plan={"people": {"accounts": False}}, live=False)
    with pytest.raises(StudyRefused, match="Nobody can enter"):
        publish(made, made.owner)
    one, two, three = invite(made, made.owner, ["Ada", "Bea", ""])
    publish(made, made.owner)
    with pytest.raises(StudyClosed):
        make.participant(made)
    person = accept(token(one))
    assert accept(token(one)).pk == person.pk
    account = make.annotator()
    theirs = accept(token(two), account)
    assert theirs.user == account
    with pytest.raises(EntryRefused, match="one person"):
        accept(token(two), make.annotator())
    revoke(three, made.owner)
    with pytest.raises(EntryRefused, match="taken back"):
        accept(token(three))
    for wrong in ("", "x~y", token(one)[:-1], ("1" if token(one)[0] == "0" else "0") + token(one)[1:]):
        with pytest.raises(EntryRefused):
            find(wrong)
    assert come_back(return_token(person)).pk == person.pk
    with pytest.raises(EntryRefused):
        come_back(return_token(theirs))


def test_an_invitation_runs_out_for_new_people_only():
    made = study(2)
    soon = timezone.now() + timedelta(hours=1)
    used, unused = invite(made, made.owner, ["a", "b"], expires=soon)
    person = accept(token(used))
    type(used).objects.update(expires=timezone.now() - timedelta(seconds=1))
    assert accept(token(used)).pk == person.pk
    with pytest.raises(EntryRefused, match="run out"):
        accept(token(unused))


def test_conditions_between_people_are_given_out_evenly():
    pictures = make.images(3)
    sets = [make.explain(pictures) for _ in range(3)]
    made = make.ratings(images=pictures, explanation_sets=sets, conditions="between", k=4, trials_per_person=3)
    people = [make.participant(made) for _ in range(7)]
    counts = [sum(person.arm_id == arm.pk for person in people) for arm in made.arms.all()]
    assert sorted(counts) == [2, 2, 3]
    for person in people:
        while kind_of_step(person) == "trial":
            assert answer(person).answer.assignment.trial.arm_id == person.arm_id
    completion.give_back(people[0])  # too late: it is finished
    assert Participant.objects.get(pk=people[0].pk).outcome == "completed"


def test_whoever_leaves_makes_room_in_their_condition():
    pictures = make.images(2)
    sets = [make.explain(pictures) for _ in range(2)]
    made = make.ratings(images=pictures, explanation_sets=sets, conditions="between", k=9)
    first = make.participant(made)
    completion.give_back(first)
    second, third = make.participant(made), make.participant(made)
    assert {second.arm_id, third.arm_id} == {arm.pk for arm in made.arms.all()}
