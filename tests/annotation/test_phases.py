"""The pages around the trials, by Django's client: every phase, and from every wrong page the way to the right one."""

import re
from datetime import timedelta

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotation.models import Assignment, ExitAnswers, Participant, StudyPicture
from annotation.people import add_annotator, add_researcher
from annotation.publishing import close, revise
from tests.annotation.phased import CONSENT, PAGES, Walker, person, person_of, phased_study, walker
from tests.browser.world import PASSWORD, make_world, png

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return make_world(images=3, classifiers=1)


@pytest.fixture
def study(world):
    return phased_study(world)


@pytest.fixture
def ada(world, study):
    return walker(world.annotator, study)


def test_the_whole_way_by_the_pages_alone(ada, study):
    assert ada.open().endswith("/consent/")
    assert "<strong>pictures</strong>" in ada.page
    assert ada.send(consent="yes").endswith("/introduction/")
    assert person(study).consent_at is not None
    assert "Page 1 of 2" in ada.page
    assert "Begin" not in ada.page
    ada.open(ada.at + "?page=2")
    assert "Page 2 of 2" in ada.page
    ada.send()
    assert ada.data["phase"] == "practice"
    assert "Practice 1 of 1" in ada.page
    said = ada.answer()
    assert said["feedback"]["right"] is True
    assert "Qualification 1 of 2" in ada.page
    ada.answer()
    assert "Qualification 2 of 2" in ada.page
    ada.answer()
    assert "0 of 2" in ada.page
    assert ada.data["phase"] == "main"
    ada.answer()
    ada.answer()
    assert ada.place == "questions"
    ada.send(age="31", how="5", device="a screen")
    assert ada.place == "end"
    assert "DONE-1" in ada.page
    assert "<strong>much</strong>" in ada.page
    assert ExitAnswers.objects.get().values == {"age": 31.0, "how": 5, "device": "a screen"}
    assert person(study).outcome == "completed"
    assert ada.open().endswith("/end/"), "who finished sees the end and the code again"
    close(study, None)
    ada.open()
    assert "DONE-1" in ada.page, "also when the study is closed"


PLACES = ["consent", "introduction", "practice", "again", "qualification", "main", "questions", "end"]


@pytest.mark.parametrize("place", PLACES)
def test_every_wrong_page_leads_to_where_the_person_is(ada, study, place):
    others = Client()
    others.force_login(add_annotator("bea", PASSWORD))
    strange = Walker(others, study).to("practice").at
    if place == "again":
        ada.to("qualification")
        ada.answer(right=False)
        ada.answer(right=False)
    else:
        ada.to(place)
    before, here = ada.place, ada.at
    for name in PAGES:
        address = reverse(name, args=[study.uuid])
        assert ada.open(address) == here, name
        if name not in ("study", "study-end") and address != here:
            assert ada.send(address) == here, f"a form of {name} does nothing here"
    done = Assignment.objects.filter(participant__user__username="ada", state="answered").exclude(trial__phase="main")
    for assignment in done:
        assert ada.open(reverse("trial", args=[assignment.uuid])) == here, "only main answers can be changed"
    assert ada.client.get(strange).status_code == 404, "another person's trial does not exist"
    assert ada.client.post(reverse("study-finish", args=[study.uuid]), follow=True).request["PATH_INFO"] == here
    assert ada.place == before


def test_a_main_answer_can_be_changed_and_a_practice_answer_cannot(ada, study):
    ada.to("practice")
    practice = ada.at
    ada.to("main")
    first = ada.at
    ada.answer()
    second = ada.at
    assert second != first
    assert ada.open(first) == first
    assert ada.data["current"]["revision"] == 1
    assert ada.open(practice) == second


def test_back_leads_to_the_answer_before(ada, study):
    ada.to("main")
    assert ada.data["urls"]["back"] is None
    first = ada.at
    ada.answer()
    back = ada.data["urls"]["back"]
    second = ada.at
    assert ada.open(back) == first
    assert ada.open(ada.data["urls"]["back"]) == second, "before the first there is nothing: on with the one in hand"


def test_not_agreeing_ends_it_kindly(ada, study):
    ada.open()
    ada.send(consent="no")
    assert "You did not agree to take part" in ada.page
    assert person(study).outcome == "declined"
    assert ada.open(reverse("study-consent", args=[study.uuid])).endswith("/end/")


def test_a_consent_form_without_a_choice_asks_again(ada, study):
    ada.open()
    assert ada.send().endswith("/consent/")
    assert ada.send(consent="perhaps").endswith("/consent/")
    assert person(study).outcome == ""


def test_a_new_consent_text_asks_everyone_again(ada, study):
    ada.to("main")
    here = ada.at
    revise(study, None, task="Say it in your own words.")
    assert ada.open() == here, "another text of the study asks nothing"
    revise(study, None, consent=CONSENT + " We keep your answers for ten years.")
    assert ada.open(here).endswith("/consent/")
    assert "changed since you agreed" in ada.page
    assert ada.send(consent="yes") == here


def test_the_introduction_shows_the_studys_pictures_to_its_people_only(ada, study, world):
    picture = StudyPicture(study=study, name="scene", width=3, height=2)
    picture.file.save("scene", ContentFile(png(np.zeros((2, 3, 3), np.uint8))), save=False)
    picture.save()
    address = reverse("study-picture", args=[study.uuid, "scene"])
    ada.to("introduction")
    ada.open(ada.at + "?page=2")
    assert f'src="{address}"' in ada.page
    assert ada.client.get(address)["Content-Type"] == "image/png"
    bea = Client()
    bea.force_login(add_annotator("bea", PASSWORD))
    assert bea.get(address).status_code == 404
    boss = add_researcher("boss", PASSWORD)
    manager = Client()
    manager.force_login(boss)
    assert manager.get(address).status_code == 404
    study.owner = boss
    study.save()
    assert manager.get(address).status_code == 200
    assert Client().get(address).status_code == 302


@pytest.mark.parametrize("page", ["0", "-1", "3", "99999999999999999999", "x", "²", ""])
def test_an_odd_page_number_shows_a_page(ada, page):
    ada.to("introduction")
    ada.open(f"{ada.at}?page={page}")
    assert "Page 1 of 2" in ada.page or "Page 2 of 2" in ada.page


def test_a_failed_qualification_gives_one_more_try_and_then_ends_with_its_code(ada, study):
    ada.to("qualification")
    ada.answer(right=True)
    ada.answer(right=False)
    assert ada.place == "again"
    assert "Right: 1 of 2. Needed to go on: 2." in re.sub(r"\s+", " ", ada.page)
    assert "one more try" in ada.page
    ada.send()
    assert "Qualification 1 of 2" in ada.page
    ada.answer(right=False)
    ada.answer(right=False)
    assert ada.place == "end"
    assert "Thank you for trying" in ada.page
    assert "OUT-3" in ada.page


def test_missed_checks_end_with_their_code(world):
    plan = {"checks": {"allowed_misses": 0, "on_fail": "end"}, "exit": []}
    study = phased_study(world, practice=0, qualification=0, checks=1, plan=plan)
    ada = walker(world.annotator, study).to("main")
    seen = []
    for _ in range(3):
        if ada.place != "trial":
            break
        check = ada.data["instruction"]
        seen.append(check)
        if check:
            assert "Answer yes and no here." in ada.page
        ada.answer(right=not check)
    assert "Answer yes and no here." in seen
    assert ada.place == "end"
    assert "Thank you for taking part" in ada.page
    assert "CHECK-2" in ada.page


def test_exit_questions_keep_what_was_typed_and_name_what_is_missing(ada, study):
    ada.to("questions")
    assert "checked" not in re.sub(r"aria-checked", "", ada.page), "nothing is preselected"
    assert "1 not at all, 7 completely" in ada.page
    ada.send(age="many", words="It was\nfine <b>really</b>", how="5")
    assert ada.place == "questions"
    assert "Write a number, please." in ada.page
    assert 'value="many"' in ada.page
    assert "It was\nfine" in ada.page
    assert ada.page.count("Please answer this question.") == 1, "the device"
    assert re.search(r'name="how"\s+value="5"\s+checked', ada.page)
    assert not ExitAnswers.objects.exists()
    ada.send(age="31,5", words="ok", how="5", device="a telephone", glasses="yes")
    assert ada.place == "end"
    kept = ExitAnswers.objects.get().values
    assert kept == {"age": 31.5, "words": "ok", "how": 5, "device": "a telephone", "glasses": True}


def test_typed_markup_is_text(ada):
    ada.to("questions")
    raw = ada.client.post(ada.at, {"words": "<script>alert(1)</script>"}).content.decode()
    assert "<script>alert(1)</script>" not in raw


def test_stopping_asks_first_and_gives_the_place_back(world):
    study = phased_study(world, practice=0, qualification=0, answers_per_trial=1)
    ada = walker(world.annotator, study).to("main")
    ada.answer()
    stop = reverse("study-stop", args=[study.uuid])
    assert ada.open(stop) == stop
    assert "Stop here?" in ada.page
    assert person(study).outcome == "", "looking at the question changes nothing"
    ada.send(stop)
    assert "your place is free again" in ada.page
    assert person(study).outcome == "returned"
    assert sorted(study.trials.values_list("claims_left", flat=True)) == [1, 1]
    assert ada.open(stop).endswith("/end/")


def test_time_that_ran_out_ends_it(world):
    study = phased_study(world, plan={"people": {"time_limit_minutes": 30}})
    ada = walker(world.annotator, study).to("main")
    here = ada.at
    Participant.objects.update(created=timezone.now() - timedelta(minutes=31))
    assert ada.open(here).endswith("/end/")
    assert "The time for this study is over" in ada.page


def test_waiting_can_be_ended_by_who_answered_something(world, django_assert_max_num_queries):
    study = phased_study(world, practice=0, qualification=0, answers_per_trial=1, consent="", plan={"introduction": []})
    bea = walker(add_annotator("bea", PASSWORD), study).to("main")
    ada = walker(world.annotator, study).to("main")
    ada.answer()
    assert ada.place == "end"
    assert "Nothing is left for you just now" in ada.page
    assert "Finish now" in ada.page
    with django_assert_max_num_queries(12):
        assert b"Nothing is left for you just now" in ada.client.get(ada.at).content
    assert ada.send(reverse("study-finish", args=[study.uuid])).endswith("/questions/")
    assert bea.open() == bea.at


def test_waiting_ends_by_itself_when_something_comes_back(world):
    study = phased_study(world, practice=0, qualification=0, answers_per_trial=1)
    bea = walker(add_annotator("bea", PASSWORD), study).to("main")
    ada = walker(world.annotator, study).to("main")
    ada.answer()
    assert ada.place == "end"
    revise(study, None, consent="Another text.")
    assert ada.open(ada.at).endswith("/consent/"), "who waits is asked for consent, too"
    ada.send(consent="yes")
    here = ada.at
    assert ada.place == "end"
    Assignment.objects.filter(uuid=bea.data["uuid"]).update(lease_until=timezone.now() - timedelta(minutes=1))
    ada.open(here)
    assert ada.place == "trial", "to look again takes what others let lie"


def test_who_answered_nothing_waits_without_a_way_to_finish(world):
    study = phased_study(
        world, practice=0, qualification=0, answers_per_trial=1, consent="", plan={"introduction": []},
        images=world.images[:1],
    )  # fmt: skip
    walker(add_annotator("bea", PASSWORD), study).to("main")
    ada = walker(world.annotator, study)
    assert ada.open().endswith("/end/")
    assert "Nothing is left for you just now" in ada.page
    assert "Finish now" not in ada.page
    assert ada.send(reverse("study-finish", args=[study.uuid])).endswith("/end/")
    assert person_of(ada, study).outcome == ""
