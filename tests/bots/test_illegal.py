"""What no page would send: each is refused with a sentence, and nothing of it is half done."""

import io
import uuid
from typing import Any

import pytest
from PIL import Image as Pillow

from annotation.models import Answer, AnswerRevision, Assignment, Draft, DrawnMap, ExitAnswers, Judgement, Participant
from tests.bots.bot import Bot, painted
from tests.bots.page import Page, payload_of
from tests.bots.world import study

pytestmark = pytest.mark.django_db(transaction=True)

RATING = {"position": 0, "necessary": True, "unnecessary": False, "quality": 3}
NOT_ANSWERS: dict[str, list[Any]] = {
    "reasonability": [
        None, {}, [], {"maps": []}, {"maps": "all"}, {"maps": [RATING | {"position": 1}]},
        {"maps": [RATING | {"position": -1}]}, {"maps": [RATING, RATING]}, {"maps": [RATING | {"necessary": "yes"}]},
        {"maps": [RATING | {"quality": 6}]}, {"maps": [RATING | {"quality": 3.5}]},
        {"maps": [RATING | {"quality": True}]},
        {"maps": [{"position": 0, "necessary": True, "quality": 3}]}, {"maps": [RATING | {"unnecessary": None}]},
    ],
    "preference": [
        None, {}, [], {"choice": "c"}, {"choice": None}, {"choice": 0}, {"choice": ["a"]}, {"preference": 1},
    ],
    "team": [None, {}, [], {"accept": "yes"}, {"accept": 1}, {"accept": None}, {"confidence": 3}],
    "map_drawing": [None, {}, [], {"strokes": "many"}, {"nothing": "yes"}, {"nothing": False}],
}  # fmt: skip


def rows() -> tuple[int, ...]:
    tables = (Answer, AnswerRevision, Judgement, DrawnMap, Draft, ExitAnswers)
    states = Assignment.objects.filter(state="answered").count(), Assignment.objects.count()
    return (*(table.objects.count() for table in tables), *states, Participant.objects.exclude(outcome="").count())


def at_a_trial(server: str, kind: str, name: str = "one", **values: Any) -> tuple[Any, Bot, Page]:
    made = values.pop("made", None) or study(
        kind, images=3, answers_per_trial=None, consent=False, introduction=False, **values
    )
    bot = Bot.make(server, name)
    page = bot.join(f"/open/{made.join_key}/")
    assert page.trial is not None
    return made, bot, page


def refused(reply: Any, status: int) -> dict[str, Any]:
    """The status, and a sentence that somebody can read."""
    assert reply.status == status, (reply.status, reply.body[:300])
    said = reply.data()
    sentences = list(said["errors"].values()) if "errors" in said else [said.get("sentence") or said.get("detail")]
    assert sentences
    assert all(isinstance(one, str) and len(one.split()) > 2 and one.rstrip()[-1] in ".?!" for one in sentences), said
    return said


@pytest.mark.parametrize("kind", NOT_ANSWERS)
def test_what_is_no_answer_is_refused_and_the_right_one_still_taken(kind, live_server):
    _, bot, page = at_a_trial(live_server.url, kind)
    before = rows()
    for payload in NOT_ANSWERS[kind]:
        parts = bot.parts(payload)
        refused(bot.browser.multipart(page.trial["urls"]["answer"], page.csrf, parts), 400)
        assert rows() == before, payload
    bot.play(page)
    assert bot.code


def test_every_field_of_a_form_is_asked_for(live_server):
    """Each single answer left out of a complete one is missed, by its name."""
    _, bot, page = at_a_trial(live_server.url, "reasonability")
    form = page.form("answer-form")
    full = {one.name: one.options[0] for one in form.open()}
    assert len(full) == 3
    for name in full:
        payload = payload_of(form, {key: value for key, value in full.items() if key != name})
        said = refused(bot.browser.multipart(page.trial["urls"]["answer"], page.csrf, bot.parts(payload)), 400)
        assert name in said["errors"]
    assert rows()[0] == 0


@pytest.mark.parametrize("parts", [{"submission": "no-uuid"}, {"duration_ms": -5}, {"duration_ms": "long"},
                                   {"events": "none"}, {"events": [["x"]]}, {"base_revision": -1}])  # fmt: skip
def test_what_stands_around_an_answer_is_checked_too(parts, live_server):
    _, bot, page = at_a_trial(live_server.url, "team")
    sent = bot.parts({"accept": True}) | parts
    refused(bot.browser.multipart(page.trial["urls"]["answer"], page.csrf, sent), 400)
    assert rows()[0] == 0


def test_drawings_that_are_none(live_server):
    _, bot, page = at_a_trial(live_server.url, "map_drawing")
    before = rows()
    text = io.BytesIO()
    Pillow.new("L", (12, 8), 255).save(text, "JPEG")
    empty = painted(12, 8, 0)
    for drawing in (
        painted(13, 8, 3),
        painted(8, 12, 3),
        text.getvalue(),
        b"no picture",
        painted(12, 8, 3)[:40],
        empty,
    ):
        parts = bot.parts({"strokes": [], "nothing": False})
        refused(bot.browser.multipart(page.trial["urls"]["answer"], page.csrf, parts, drawing), 400)
        assert rows() == before
    both = bot.parts({"strokes": [], "nothing": True})
    refused(bot.browser.multipart(page.trial["urls"]["answer"], page.csrf, both, painted(12, 8, 3)), 400)
    assert rows() == before


def test_a_second_answer_that_saw_no_first_is_shown_what_stands(live_server):
    _, bot, page = at_a_trial(live_server.url, "preference")
    url, csrf = page.trial["urls"]["answer"], page.csrf
    first, second = bot.parts({"choice": "a"}), bot.parts({"choice": "b"})
    assert bot.browser.multipart(url, csrf, first).status == 200
    said = refused(bot.browser.multipart(url, csrf, second), 409)
    assert said["current"]["payload"] == {"choice": "a"}
    assert said["current"]["revision"] == 1
    # The first one again is the first result; a change that saw it is the second revision.
    again = bot.browser.multipart(url, csrf, first).data()
    assert (again["repeated"], again["revision"]) == (True, 1)
    assert bot.browser.multipart(url, csrf, second | {"base_revision": 1}).data()["revision"] == 2
    assert (Answer.objects.count(), AnswerRevision.objects.count()) == (1, 2)


def test_another_persons_trial_does_not_exist(live_server):
    made, _, page = at_a_trial(live_server.url, "team")
    _, stranger, own = at_a_trial(live_server.url, "team", "stranger", made=made)
    before = rows()
    urls = page.trial["urls"]
    uuid_ = page.trial["uuid"]
    assert stranger.browser.multipart(urls["answer"], own.csrf, stranger.parts({"accept": True})).status == 404
    assert stranger.browser.multipart(urls["draft"], own.csrf, {"payload": {"a": 1}}, method="PUT").status == 404
    for path in (
        urls["ahead"],
        urls["draft"],
        f"/trials/{uuid_}/",
        f"/trials/{uuid_}/thumbnail/",
        urls["back"] or urls["ahead"],
    ):
        assert stranger.browser.send("GET", path).status == 404, path
    assert stranger.browser.send("GET", f"/trials/{uuid.uuid4()}/").status == 404
    assert rows() == before


def test_without_a_login_there_is_nothing_but_the_way_in(live_server):
    made, _, page = at_a_trial(live_server.url, "team")
    visitor = Bot.make(live_server.url, "nobody")
    for path in (f"/trials/{page.trial['uuid']}/", page.trial["urls"]["picture"], f"/studies/{made.uuid}/", "/"):
        reply = visitor.browser.send("GET", path)
        assert (reply.status, reply.headers["Location"].partition("?")[0]) == (302, "/login/"), path
    reply = visitor.browser.multipart(page.trial["urls"]["answer"], "", visitor.parts({"accept": True}))
    assert reply.status == 403
    assert Answer.objects.count() == 0


def test_without_the_token_nothing_is_written(live_server):
    made, bot, page = at_a_trial(live_server.url, "team")
    before = rows()
    for csrf in ("", "x" * 64):
        reply = bot.browser.multipart(page.trial["urls"]["answer"], csrf, bot.parts({"accept": True}))
        refused(reply, 403)
        assert rows() == before
    assert bot.browser.post(f"/studies/{made.uuid}/stop/", {}).status == 403
    assert bot.browser.post(f"/open/{made.join_key}/", {"nickname": "x"}).status == 403
    assert rows() == before


def test_exit_questions_that_are_not_answered_are_asked_again_and_what_was_said_stays(live_server):
    _, bot, page = at_a_trial(live_server.url, "team")
    while not page.address.endswith("/questions/"):
        _, page = bot.step(page)
    right = {"age": "34", "easy": "3", "device": "a screen"}
    for wrong in ({"age": "old"}, {"easy": "9"}, {"device": "a watch"}, {"age": ""}, {"easy": "3.5"}, {"device": ""}):
        values = right | wrong
        form = page.posts()[0]
        reply = bot.browser.post(page.address, form.hidden() | values)
        assert reply.status == 200
        page = reply.page()
        assert page.address.endswith("/questions/")
        assert any(name.endswith("-wrong") and text.strip() for name, text in page.texts.items())
        assert page.posts()[0].fields["age"].value == values["age"]
        assert ExitAnswers.objects.count() == 0
    bot.play(page)
    assert bot.code


def test_methods_that_a_page_does_not_have(live_server):
    made, bot, page = at_a_trial(live_server.url, "team")
    before = rows()
    here = f"/studies/{made.uuid}"
    for method, path in (
        ("DELETE", page.trial["urls"]["answer"]),
        ("PUT", f"{here}/consent/"),
        ("POST", f"/trials/{page.trial['uuid']}/"),
        ("GET", f"{here}/finish/"),
    ):
        reply = bot.browser.multipart(path, page.csrf, {"a": "b"}, method=method)
        assert reply.status in (403, 405), (method, path, reply.status)
    assert rows() == before
