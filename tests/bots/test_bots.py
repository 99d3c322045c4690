"""Bots play whole studies through the real pages: every kind, every phase, every way in which a study can end."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection
from django.urls import reverse

from annotation import invitations
from annotation.models import Answer, Assignment, ExitAnswers, Judgement, Participant
from tests.bots.bot import Bot
from tests.bots.crowd import FIFTY, SMALL, run
from tests.bots.server import served
from tests.bots.world import CODES, study

pytestmark = pytest.mark.django_db(transaction=True)
KINDS = ("reasonability", "preference", "team", "map_drawing")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with served(tmp_path / "server") as address:
        yield address


def walk(bot: Bot) -> list[str]:
    """The pages that were met, one of each run of the same."""
    return [place for place, before in zip(bot.path, ["", *bot.path], strict=False) if place != before]


def whole(kind: str, **values):
    """A study of three main trials for everyone, with every phase that the kind can have."""
    graded = kind != "map_drawing"
    values = {
        "images": 3,
        "practice": 2,
        "answers_per_trial": None,
        "qualification": 2 * graded,
        "checks": graded,
    } | values
    return study(kind, **values)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_study_of_each_kind_with_one_try_too_many(kind, live_server):
    graded = kind != "map_drawing"
    made = whole(kind)
    bot = Bot.make(live_server.url, kind, wrong_tries=int(graded), wrong_practice=True)
    bot.play(bot.join(f"/open/{made.join_key}/"))
    tries = ["trial:qualification", "again", "trial:qualification"] if graded else []
    assert walk(bot) == [
        "join", "consent", "introduction", "trial:practice", *tries, "trial:main", "questions", "end",
    ]  # fmt: skip
    person = Participant.objects.get(study=made)
    assert (person.outcome, bot.code, person.nickname) == ("completed", CODES["completed"], "Robin")
    assert person.consent_version == made.version
    assert ExitAnswers.objects.get(participant=person).values["age"] == 34.0
    main = Assignment.objects.filter(participant=person, trial__phase="main", state="answered")
    assert main.count() == 3
    assert len(bot.answers) == Answer.objects.count() == 2 + 4 * graded + 3 + graded
    practised = [one.feedback for one in bot.answers if one.phase == "practice"]
    if graded:
        assert all(said is not None and said["right"] is False and said["sentence"] for said in practised)
        assert Answer.objects.get(assignment__trial__phase="check", assignment__participant=person).correct
        kept = Assignment.objects.filter(trial__phase="qualification").values_list("state", flat=True)
        assert sorted(kept) == ["answered"] * 2 + ["set_aside"] * 2
    assert all(one.feedback is None for one in bot.answers if one.phase != "practice")
    if kind == "preference":
        chosen = Judgement.objects.filter(answer__assignment__trial__phase="check", question="chosen").get()
        assert chosen.stimulus.slot == 0  # the map that the bot saw to be brighter on the left
    if kind == "map_drawing":
        for answer in Answer.objects.filter(drawn_map__isnull=False):
            assert (answer.drawn_map.width, answer.drawn_map.height) == (12, 8)
        assert Answer.objects.filter(drawn_map__isnull=False).exists()


@pytest.mark.parametrize(
    ("manner", "outcome", "ends"),
    [
        ({"wrong_tries": 2}, "screened_out", ["trial:qualification", "again", "trial:qualification", "end"]),
        ({"misses": 1}, "failed_checks", ["trial:qualification", "trial:main", "end"]),
        ({"agrees": False}, "declined", ["join", "consent", "end"]),
    ],
)
def test_the_other_ends_of_a_study(manner, outcome, ends, live_server):
    made = whole("team", answers_per_trial=2)
    bot = Bot.make(live_server.url, outcome, **manner)
    bot.play(bot.join(f"/open/{made.join_key}/"))
    assert walk(bot)[-len(ends) :] == ends
    person = Participant.objects.get(study=made)
    assert (person.outcome, bot.code) == (outcome, CODES.get(outcome, ""))
    assert bot.heading
    # Nothing of it counts, all places are free, and what was answered is still on record.
    main = Assignment.objects.filter(participant=person, trial__phase="main")
    assert not main.filter(state__in=["open", "answered"]).exists()
    assert set(made.trials.filter(phase="main").values_list("claims_left", flat=True)) == {2}
    assert Answer.objects.count() == len(bot.answers)


def test_every_way_in(live_server):
    """An open link, an invitation, Prolific; and back by the same."""
    made = whole("team", people={"prolific": True})
    invitation = invitations.token(invitations.invite(made, made.owner, ["one"])[0])
    links = [
        f"/open/{made.join_key}/",
        reverse("join-invitation", args=[invitation]),
        f"/prolific/{made.join_key}/?PROLIFIC_PID=abc&STUDY_ID=s1&SESSION_ID=x1",
    ]
    for number, link in enumerate(links, 1):
        bot = Bot.make(live_server.url, link)
        page = bot.join(link)
        assert Participant.objects.count() == number
        bot.play(page, steps=5)
        if number > 1:  # from another device
            other = Bot.make(live_server.url, f"{link} again")
            other.play(other.join(link))
            assert other.code == CODES["completed"]
        else:
            bot.play(bot.browser.get(link).page())
            assert bot.code == CODES["completed"]
    assert Participant.objects.count() == 3
    assert set(Participant.objects.values_list("outcome", flat=True)) == {"completed"}
    assert Participant.objects.get(external_id="abc").session == {"STUDY_ID": "s1", "SESSION_ID": "x1"}


def test_a_page_of_another_phase_leads_to_where_the_person_is(live_server):
    made = whole("preference", images=1, practice=1, qualification=1, checks=0)
    bot = Bot.make(live_server.url, "lost")
    page = bot.join(f"/open/{made.join_key}/")
    here = f"/studies/{made.uuid}/"
    places = ("consent/", "introduction/", "again/", "questions/", "end/")
    own = {"consent": "consent/", "introduction": "introduction/", "again": "again/", "questions": "questions/"}
    met = set()
    for _ in range(40):
        stands = bot.browser.get(here)
        for place in places:
            found = bot.browser.get(here + place)
            assert (found.status, found.address) == (200, stands.address)
        person = Participant.objects.get(study=made)
        before = (person.phase, person.outcome, Answer.objects.count(), ExitAnswers.objects.count())
        csrf = stands.page().csrf if stands.page().posts() or stands.page().loose else ""
        for place in places[1:4]:
            if own.get(stands.address.rstrip("/").rpartition("/")[2]) != place:
                bot.browser.post(here + place, {"csrfmiddlewaretoken": csrf, "consent": "yes"})
        person.refresh_from_db()
        assert (person.phase, person.outcome, Answer.objects.count(), ExitAnswers.objects.count()) == before
        met.add(person.phase)
        ended, page = bot.step(page)
        if ended:
            break
    assert met == {"consent", "introduction", "practice", "qualification", "main", "exit", "done"}


@pytest.mark.slow
def test_a_crowd_on_a_bad_line_leaves_exact_numbers(server):
    """102 people on PostgreSQL, 12 on SQLite; 1,002 by `make bots`."""
    size = FIFTY if connection.vendor == "postgresql" else SMALL
    result, _ = run(server, size)
    assert result.holds, "\n" + result.table()
    assert result.line.cuts > 0
    assert result.line.doubles > 0


def test_submissions_are_not_shared_between_people(live_server):
    """The same submission id under another trial is refused and changes nothing."""
    made = whole("team", practice=0, qualification=0, checks=0)
    bots = [Bot.make(live_server.url, name) for name in ("a", "b")]
    pages = []
    for bot in bots:
        page = bot.join(f"/open/{made.join_key}/")
        while page.trial is None:
            page = bot.step(page)[1]
        pages.append(page)
    name = str(uuid.uuid4())
    said = {"submission": name, "payload": {"accept": True}, "base_revision": 0}
    first = bots[0].browser.multipart(pages[0].trial["urls"]["answer"], pages[0].csrf, said)
    second = bots[1].browser.multipart(pages[1].trial["urls"]["answer"], pages[1].csrf, said)
    assert (first.status, second.status) == (200, 400)
    assert "submission" in second.data()["errors"]
    assert Answer.objects.count() == 1
