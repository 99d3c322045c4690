"""The frame of every trial in Chromium: what is unsent, the time that is counted, and what is fetched ahead."""

import json
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from annotation.models import Answer, AnswerRevision, Assignment
from tests.browser.conftest import ready
from tests.browser.plain_pages import KEEP, RECORDS, answered, fill, live_studies
from tests.browser.world import PASSWORD, make_world


@pytest.fixture
def world():
    return make_world(images=3, classifiers=1)


@pytest.fixture
def plain(world, settings):
    """Makes live studies of the plain kind."""
    yield from live_studies(world, settings)


@pytest.fixture
def ada(person, world):
    one = person()
    one.known_as(world.annotator)
    return one


# --- sending ------------------------------------------------------------------------------------------------------


def test_answers_of_several_trials_go_out_from_any_page_and_none_holds_up_another(ada, plain):
    page = ada.begin(plain())
    ada.expected += ["ERR_FAILED", "500"]
    page.route("**/answer/", lambda route: route.abort())
    fill(page)
    page.keyboard.press("Enter")
    page.get_by_text("No connection").wait_for()
    [record] = page.evaluate(RECORDS)
    first = Assignment.objects.get()
    # A second one of the same person waits too: as after a quick change of trials on a bad line.
    second = Assignment.objects.create(
        participant=first.participant, trial=first.trial.study.trials.exclude(pk=first.trial_id).first(),
        order=[0], lease_until=timezone.now() + timedelta(hours=1),
    )  # fmt: skip
    more = {
        "assignment": str(second.uuid),
        "answerUrl": record["answerUrl"].replace(str(first.uuid), str(second.uuid)),
        "submission": "5f0c7a8e-0000-4000-8000-000000000002",
    }
    page.evaluate(KEEP, record | more)
    home = ada.tab()
    stuck = [str(first.uuid)]
    home.route(
        "**/answer/",
        lambda route: route.fulfill(status=500) if stuck and stuck[0] in route.request.url else route.continue_(),
    )
    page.on("dialog", lambda dialog: dialog.accept())
    page.close()
    ada.open("/", home)
    home.get_by_text("The server does not answer well").wait_for()
    assert Answer.objects.get().assignment == second
    stuck.clear()
    home.get_by_role("button", name="Try now").click()
    home.get_by_text("Your kept answer has been sent.").wait_for()
    assert Answer.objects.count() == 2
    assert home.evaluate(RECORDS) == []


def test_try_now_ends_the_pause(ada, plain):
    page = ada.begin(plain())
    ada.expected.append("ERR_FAILED")
    page.route("**/answer/", lambda route: route.abort(), times=1)
    fill(page)
    before = page.url
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Try now").click()
    page.wait_for_url(answered(before))
    assert Answer.objects.count() == 1


def test_pauses_double_up_to_half_a_minute_and_differ(ada, plain):
    page = ada.begin(plain())
    waits = page.evaluate(
        """async () => {
          const { waitBefore } = await import('/static/js/net.js');
          return [0, 1, 2, 3, 4, 5, 50].map((n) => Array.from({ length: 200 }, () => waitBefore(n)));
        }"""
    )
    for attempt, drawn in enumerate(waits):
        most = min(1000 * 2**attempt, 30_000)
        assert all(most / 2 <= wait <= most for wait in drawn)
        assert max(drawn) - min(drawn) > most / 4


def test_four_idle_hours_cost_nothing_but_a_sign_in(ada, plain):
    """The session is gone, the lease ran out; the answer waits on the device and goes out after signing in."""
    page = ada.begin(plain())
    ada.expected.append("403")
    fill(page)
    page.locator("#saved[data-state=saved]").wait_for()
    Session.objects.all().delete()
    Assignment.objects.update(lease_until=timezone.now() - timedelta(hours=3, minutes=50))
    page.keyboard.press("Enter")
    page.get_by_text("You are signed out. Your answer is kept on this device").wait_for()
    first = page.url
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/trials/" in url and url != first)
    assert Answer.objects.get().revision == 1
    assert Answer.objects.get().submission == AnswerRevision.objects.get().submission


@pytest.mark.parametrize("change", ["rotated", "lost"])
def test_a_token_of_another_sign_in_does_not_cost_the_answer(ada, plain, change):
    """Signed in again in another tab the token changes; some browsers lose the cookie. Neither is worth a word."""
    page = ada.begin(plain())
    ada.expected.append("403")
    fill(page)
    page.locator("#saved[data-state=saved]").wait_for()
    if change == "lost":
        ada.context.clear_cookies(name="csrftoken")
    else:
        ada.context.add_cookies([{"name": "csrftoken", "value": "b" * 32, "url": ada.address}])
    before = page.url
    page.keyboard.press("Enter")
    page.wait_for_url(answered(before))
    assert Answer.objects.count() == 1


def test_back_button_shows_the_answer_and_changes_it_as_a_revision(ada, plain):
    page = ada.begin(plain())
    first = page.url
    fill(page)
    page.keyboard.press("Enter")
    page.wait_for_url(answered(first))
    ready(page)
    page.go_back()
    page.wait_for_url(first)
    ready(page)
    assert page.locator("input[name=certain]:checked").get_attribute("value") == "no"
    page.locator("label:has(input[name=certain][value=yes])").click()
    page.get_by_role("button", name="Send the change").click()
    page.wait_for_url("**/answers/")
    assert Answer.objects.get().revision == 2
    assert Answer.objects.get().judgements.get().truth is True


# --- time ---------------------------------------------------------------------------------------------------------


def test_waiting_for_the_network_is_not_counted_and_the_record_tells_what_happened(ada, plain):
    page = ada.begin(plain())
    ada.expected.append("400")
    refuse = json.dumps({"errors": {"certain": "Say whether you are certain."}})
    held = []
    page.route("**/answer/", lambda route: held.append(route), times=1)
    fill(page)
    page.keyboard.press("Enter")
    page.wait_for_timeout(2500)
    held[0].fulfill(status=400, body=refuse, content_type="application/json")
    page.get_by_text("Say whether you are certain.").wait_for()
    before = page.url
    page.keyboard.press("Enter")
    page.wait_for_url(answered(before))
    answer = Answer.objects.get()
    names = [line[1] for line in answer.events]
    assert names[0] == "shown"
    assert ["input", "key"] in [line[1:] for line in answer.events]
    assert ["change", "certain", "no"] in [line[1:] for line in answer.events]
    assert names.count("send") == 2
    assert answer.duration_ms < 2300, "two and a half seconds passed while the answer was on its way"
    moments = [line[0] for line in answer.events]
    assert moments == sorted(moments)


def test_a_record_ends_with_cut_after_four_hundred_lines(ada, plain):
    page = ada.begin(plain())
    events = page.evaluate(
        """async () => {
          const { Clock } = await import('/static/js/clock.js');
          const clock = new Clock();
          clock.note('too early');
          clock.start(500, [[3, 'shown']]);
          for (let n = 0; n < 900; n += 1) clock.note('change', 'x'.repeat(300), n, 1, 2, 3);
          return clock.events;
        }"""
    )
    assert len(events) == 400
    assert [line[1] for line in events[:3]] == ["shown", "shown", "change"]
    assert events[1][0] >= 500
    assert events[2][2:] == ["x" * 120, 0, 1, 2]
    assert events[-1][1:] == ["cut"]


# --- ahead, and where it cannot work --------------------------------------------------------------------------------


def test_the_next_pictures_are_there_before_they_are_asked_for(ada, plain):
    study = plain(images=3)
    page = ada.page
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/pictures/" in request.url else None)
    ada.begin(study)
    page.wait_for_function("() => JSON.parse(sessionStorage.getItem('harmony-ahead') ?? '[]').length === 4")
    ahead = page.evaluate("JSON.parse(sessionStorage.getItem('harmony-ahead'))")
    assert [sum(url.endswith(one) for url in asked) for one in ahead] == [1, 1, 1, 1], "picture and map of the next two"
    fill(page)
    before = page.url
    page.keyboard.press("Enter")
    page.wait_for_url(answered(before))
    ready(page)
    sizes = page.evaluate(
        "performance.getEntriesByType('resource').filter(e => e.name.includes('/pictures/')).map(e => e.transferSize)"
    )
    assert len(sizes) >= 2
    assert sizes == [0] * len(sizes), "all of them came from the browser's own cache"


def test_save_data_fetches_nothing_ahead(ada, plain):
    study = plain()
    page = ada.page
    page.add_init_script("Object.defineProperty(navigator, 'connection', { value: { saveData: true } })")
    asked = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/ahead/") else None)
    ada.begin(study)
    page.wait_for_timeout(500)
    assert asked == []


def test_a_browser_that_lacks_something_is_told_kindly(ada, plain):
    study = plain()
    page = ada.page
    page.add_init_script("delete window.createImageBitmap")
    ada.open(f"/studies/{study.uuid}/")
    page.get_by_text("This browser lacks what the page needs").wait_for()


def test_a_page_that_arrives_in_pieces_says_so(ada, plain):
    study = plain()
    ada.expected.append("ERR_FAILED")
    page = ada.page
    page.route("**/form.js", lambda route: route.abort())
    ada.open(f"/studies/{study.uuid}/")
    page.get_by_text("The page did not arrive in one piece").wait_for()
