"""An answer becomes a row exactly once."""

import io
import uuid
from datetime import timedelta

import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.utils import timezone
from PIL import Image as Pillow

from annotation import assignment as claims
from annotation.answers import load, load_draft, save_draft, submit
from annotation.drawings import palette_png
from annotation.errors import AnswerConflict, AnswerInvalid, StudyClosed, TrialTaken
from annotation.models import Answer, AnswerRevision, Assignment, Draft, DrawnMap, Judgement, Trial
from annotation.publishing import close
from annotation.statistics.map_drawing import values_of
from tests.annotation import factories as make

pytestmark = pytest.mark.django_db


DEFAULT = object()


def send(assignment, payload=DEFAULT, *, submission=None, **values):
    payload = make.rating(assignment) if payload is DEFAULT else payload
    return submit(assignment=assignment, submission=submission or uuid.uuid4(), payload=payload, **values)


def errors_of(assignment, payload, **values) -> dict[str, str]:
    with pytest.raises(AnswerInvalid) as refused:
        send(assignment, payload, **values)
    assert not Answer.objects.exists()
    return refused.value.errors


@pytest.fixture
def rated():
    return claims.claim_next(make.participant(make.ratings(1, sets=2)))


@pytest.fixture
def drawn():
    return claims.claim_next(make.participant(make.drawings(1)))


def test_a_rating_is_kept_against_the_map_that_stood_at_its_place(rated):
    rated.order = [1, 0]
    rated.save()
    payload = {
        "maps": [
            {"position": 1, "necessary": False, "unnecessary": True, "quality": 1},
            {"position": 0, "necessary": True, "unnecessary": False, "quality": 5},
        ]
    }
    sent = send(rated, payload, duration_ms=1234, events=[[0, "shown"], [900, "view", "contour"]])
    told = {(j.stimulus.slot, j.question): j.value for j in Judgement.objects.all()}
    assert told == {
        (1, "necessary"): True, (1, "unnecessary"): False, (1, "quality"): 5.0,
        (0, "necessary"): False, (0, "unnecessary"): True, (0, "quality"): 1.0,
    }  # fmt: skip
    assert (sent.answer.revision, sent.repeated) == (1, False)
    assert (sent.answer.duration_ms, sent.answer.events) == (1234, [[0, "shown"], [900, "view", "contour"]])
    rated.refresh_from_db()
    assert rated.state == Assignment.State.ANSWERED
    assert rated.answered is not None


def test_the_same_submission_again_gives_the_first_result(rated):
    name = uuid.uuid4()
    first = send(rated, submission=name)
    again = send(rated, make.rating(2, quality=1), submission=name)
    assert (again.answer.pk, again.revision.pk, again.repeated) == (first.answer.pk, first.revision.pk, True)
    assert AnswerRevision.objects.count() == 1
    assert set(Judgement.objects.filter(question="quality").values_list("number", flat=True)) == {4.0}


def test_a_change_is_a_further_revision_that_replaces_what_was_said(rated):
    send(rated, duration_ms=100)
    changed = send(rated, make.rating(2, necessary=False, quality=2), base_revision=1, duration_ms=7)
    assert changed.answer.revision == 2
    assert changed.answer.duration_ms == 100
    assert set(Judgement.objects.filter(question="quality").values_list("number", flat=True)) == {2.0}
    assert Judgement.objects.count() == 6
    kept = [revision.payload["answer"]["maps"][0]["quality"] for revision in AnswerRevision.objects.all()]
    assert kept == [4, 2]
    assert [revision.payload["duration_ms"] for revision in AnswerRevision.objects.all()] == [100, 7]


@pytest.mark.parametrize("base", [None, 0, 2, 9])
def test_a_stale_tab_is_told_what_stands_now(rated, base):
    send(rated, make.rating(2, quality=5))
    with pytest.raises(AnswerConflict) as refused:
        send(rated, make.rating(2, quality=1), base_revision=base)
    current = refused.value.current
    assert (current.revision, current.payload["maps"][0]["quality"]) == (1, 5)
    assert current.as_dict()["payload"] == current.payload
    assert AnswerRevision.objects.count() == 1


def test_a_base_where_nothing_was_answered_is_a_conflict(rated):
    with pytest.raises(AnswerConflict):
        send(rated, base_revision=1)
    assert not Answer.objects.exists()


def test_a_closed_study_takes_nothing_but_repeats_what_it_had(rated):
    name = uuid.uuid4()
    send(rated, submission=name)
    close(rated.trial.study, None)
    rated = Assignment.objects.get(pk=rated.pk)
    assert send(rated, submission=name).repeated
    with pytest.raises(StudyClosed):
        send(rated, base_revision=1)
    with pytest.raises(StudyClosed):
        save_draft(rated, {})


def test_a_submission_of_another_trial_is_refused(rated, drawn):
    name = uuid.uuid4()
    send(rated, submission=name)
    with pytest.raises(AnswerInvalid) as refused:
        send(drawn, {"nothing": True}, submission=name)
    assert "submission" in refused.value.errors
    assert Answer.objects.count() == 1


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (lambda one: one.pop("necessary"), "maps.0.necessary"),
        (lambda one: one.update(necessary=None), "maps.0.necessary"),
        (lambda one: one.update(necessary="true"), "maps.0.necessary"),
        (lambda one: one.update(unnecessary=1), "maps.0.unnecessary"),
        (lambda one: one.pop("quality"), "maps.0.quality"),
        (lambda one: one.update(quality=0), "maps.0.quality"),
        (lambda one: one.update(quality=6), "maps.0.quality"),
        (lambda one: one.update(quality="4"), "maps.0.quality"),
        (lambda one: one.update(quality=4.0), "maps.0.quality"),
        (lambda one: one.update(quality=True), "maps.0.quality"),
        (lambda one: one.update(position=1), "maps"),
        (lambda one: one.update(position=-1), "maps.0.position"),
        (lambda one: one.update(position=7), "maps"),
    ],
)
def test_nothing_is_guessed(rated, spoil, field):
    payload = make.rating(2)
    spoil(payload["maps"][0])
    errors = errors_of(rated, payload)
    assert field in errors
    assert all(sentence.endswith(".") for sentence in errors.values())


@pytest.mark.parametrize("payload", [{}, [], None, "x", {"maps": {}}, {"maps": []}, {"maps": [1]}, make.rating(3)])
def test_what_is_no_answer_is_refused_in_sentences(rated, payload):
    assert errors_of(rated, payload)


@pytest.mark.parametrize(
    "events",
    [{}, "x", [1], [[1]], [["1", "a"]], [[-1, "a"]], [[1, ""]], [[1, "a" * 41]], [[1, "a", {}]], [[1, "a", "\x00"]],
     [[True, "a"]], [[1, "a", float("nan")]]],
)  # fmt: skip
def test_malformed_events_are_refused(rated, events):
    assert any(name.startswith("events") for name in errors_of(rated, DEFAULT, events=events))


def test_a_long_record_is_cut_and_a_negative_time_refused(rated):
    assert "duration_ms" in errors_of(rated, DEFAULT, duration_ms=-1)
    sent = send(rated, events=[[number, "key"] for number in range(3000)], duration_ms=10**11)
    assert len(sent.answer.events) == 1000
    assert sent.answer.duration_ms == 24 * 60 * 60 * 1000


def test_a_drawing_is_kept_as_a_palette_of_the_images_size(drawn):
    sent = send(drawn, {"strokes": [{"tool": "brush"}]}, drawing=make.drawing(columns=3))
    row = DrawnMap.objects.get(answer=sent.answer)
    values = values_of(row)
    assert (values[:, :3] == 1).all()
    assert (values[:, 3:] == 2).all()
    assert (row.width, row.height, row.share) == (12, 8, 0.25)
    assert row.strokes == [{"tool": "brush"}]
    with default_storage.open(row.file.name) as stream:
        data = stream.read()
    assert Pillow.open(io.BytesIO(data)).mode == "P"
    import hashlib

    assert hashlib.sha256(data).hexdigest() == row.sha256


def test_what_was_not_painted_may_be_unknown():
    study = make.drawings(1, settings={"rest": "unknown"})
    sent = send(claims.claim_next(make.participant(study)), {}, drawing=make.drawing(columns=3))
    assert set(np.unique(values_of(sent.answer.drawn_map))) == {0, 1}


def test_a_changed_drawing_replaces_the_map_and_keeps_the_earlier_file(drawn):
    first = send(drawn, {}, drawing=make.drawing(columns=3)).answer.drawn_map
    second = send(drawn, {}, drawing=make.drawing(columns=6), base_revision=1)
    back = send(drawn, {}, drawing=make.drawing(columns=3), base_revision=2)
    assert DrawnMap.objects.count() == 1
    row = DrawnMap.objects.get()
    assert (row.sha256, row.file.name) == (first.sha256, first.file.name)
    assert default_storage.exists(first.file.name)
    hashes = [revision.payload["drawing_sha256"] for revision in AnswerRevision.objects.all()]
    assert hashes == [first.sha256, second.revision.payload["drawing_sha256"], first.sha256]
    assert back.answer.revision == 3
    nothing = send(drawn, {"nothing": True}, base_revision=3)
    assert not DrawnMap.objects.exists()
    assert nothing.answer.judgements.get().truth is True


def test_an_empty_drawing_needs_the_word_nothing(drawn):
    black = np.zeros((8, 12), dtype=np.uint8)
    for drawing in (None, b"", make.png(black), make.drawing(columns=0)):
        assert "nothing to mark" in errors_of(drawn, {}, drawing=drawing)["drawing"]
    assert "nothing" in errors_of(drawn, {"nothing": True}, drawing=make.drawing())
    assert "nothing" in errors_of(drawn, {"nothing": "true"})
    sent = send(drawn, {"nothing": True}, drawing=make.png(black))
    assert not DrawnMap.objects.filter(answer=sent.answer).exists()


def truncated() -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (8, 12, 4), dtype=np.uint8)
    return make.png(noise)[:-80]


def jpeg() -> bytes:
    stream = io.BytesIO()
    Pillow.new("RGB", (12, 8), "white").save(stream, format="JPEG")
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [b"no picture", truncated(), jpeg(), make.drawing()[:30], make.drawing(width=13), make.drawing(height=80)],
    ids=["text", "truncated", "jpeg", "head only", "too wide", "too high"],
)
def test_what_is_no_drawing_of_this_picture_is_refused(drawn, data):
    assert errors_of(drawn, {}, drawing=data)["drawing"].endswith(".")


def test_a_drawing_too_large_in_bytes_is_refused(drawn, settings):
    settings.MAX_DRAWING_BYTES = 10
    assert "larger" in errors_of(drawn, {}, drawing=make.drawing())["drawing"]


def test_a_huge_picture_is_refused_by_its_head_before_any_pixel_is_decoded(drawn):
    stream = io.BytesIO()
    Pillow.new("1", (20000, 20000)).save(stream, format="PNG")
    assert "far larger" in errors_of(drawn, {}, drawing=stream.getvalue())["drawing"]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "I;16"])
def test_any_pixel_neither_black_nor_transparent_is_painted(drawn, mode):
    painted = np.zeros((8, 12), dtype=bool)
    painted[2:4, 1:5] = True
    if mode == "P":
        data = palette_png(painted.astype(np.uint8))
    elif mode == "I;16":
        data = make.png(painted.astype(np.uint16) * 40)
    else:
        grey = Pillow.fromarray(painted.astype(np.uint8) * 255)
        stream = io.BytesIO()
        picture = grey.convert(mode)
        if mode in ("LA", "RGBA"):
            picture.putalpha(grey)
        picture.save(stream, format="PNG")
        data = stream.getvalue()
    sent = send(drawn, {}, drawing=data)
    assert ((values_of(sent.answer.drawn_map) == 1) == painted).all()


@pytest.mark.parametrize("stroke", [{"points": "x" * 600_000}, {"note": "\x00"}, {"note": "\ud800"}])
def test_strokes_that_no_database_keeps_cost_no_drawing(drawn, stroke):
    sent = send(drawn, {"strokes": [stroke]}, drawing=make.drawing())
    assert sent.answer.drawn_map.strokes == []
    assert sent.revision.payload["answer"]["strokes_left_out"] is True


def test_load_gives_back_what_was_sent(drawn, rated):
    assert load(drawn).revision == 0
    send(drawn, {"strokes": [{"a": 1}]}, drawing=make.drawing(columns=3))
    current = load(drawn)
    assert current.payload["strokes"] == [{"a": 1}]
    painted = np.asarray(Pillow.open(io.BytesIO(current.drawing)).convert("L")) > 0
    assert painted[:, :3].all()
    assert not painted[:, 3:].any()
    assert current.as_dict()["drawing"].startswith("data:image/png;base64,")
    send(rated, make.rating(2, quality=3))
    assert load(rated).payload == make.rating(2, quality=3)


# --- Drafts and leases ----------------------------------------------------------------------------------------


def expire(assignment) -> Assignment:
    Assignment.objects.filter(pk=assignment.pk).update(lease_until=timezone.now() - timedelta(minutes=1))
    return Assignment.objects.get(pk=assignment.pk)


def test_a_draft_is_kept_renews_the_lease_and_goes_with_the_answer(drawn, django_capture_on_commit_callbacks):
    Assignment.objects.filter(pk=drawn.pk).update(lease_until=timezone.now() + timedelta(minutes=1))
    drawn.refresh_from_db()
    save_draft(drawn, {"strokes": [1]}, make.drawing(columns=1))
    drawn.refresh_from_db()
    assert drawn.lease_until > timezone.now() + claims.LEASE * 0.9
    old = Draft.objects.get().file.name
    with django_capture_on_commit_callbacks(execute=True):
        save_draft(drawn, {"strokes": [2], "base_revision": None}, make.drawing(columns=2))
    new = Draft.objects.get().file.name
    assert default_storage.exists(new)
    assert not default_storage.exists(old)
    draft = load_draft(drawn)
    assert (draft.revision, draft.payload["strokes"]) == (0, [2])
    assert draft.drawing is not None
    with django_capture_on_commit_callbacks(execute=True):
        send(drawn, {}, drawing=make.drawing())
    assert load_draft(drawn) is None
    assert not default_storage.exists(new)


def test_a_draft_that_arrives_after_the_answer_does_not_come_back(drawn):
    send(drawn, {}, drawing=make.drawing())
    with pytest.raises(AnswerConflict):
        save_draft(drawn, {"strokes": [], "base_revision": None}, make.drawing(columns=1))
    assert not Draft.objects.exists()
    save_draft(drawn, {"strokes": [], "base_revision": 1}, make.drawing(columns=1))
    assert load_draft(drawn).revision == 1


@pytest.mark.parametrize("payload", [[], "x", {"a": "x" * 2_000_000}, {"a": "\x00"}])
def test_a_draft_has_limits(drawn, payload):
    with pytest.raises(AnswerInvalid):
        save_draft(drawn, payload)


def test_a_drawing_belongs_to_drawing_studies_only(rated):
    with pytest.raises(AnswerInvalid):
        save_draft(rated, {}, make.drawing())


def test_an_answer_under_a_lease_that_merely_ran_out_counts(rated):
    rated = expire(rated)
    send(rated)
    assert Trial.objects.get().claims_left == 0


def test_an_answer_after_the_place_came_back_takes_it_again(rated):
    stale = expire(rated)
    claims.release_expired()
    assert Trial.objects.get().claims_left == 1
    send(stale)  # the page still believes that it holds the trial
    assert Trial.objects.get().claims_left == 0
    assert Assignment.objects.get().state == Assignment.State.ANSWERED


def test_an_answer_after_the_place_was_given_away_is_told_kindly(rated):
    study = rated.trial.study
    stale = expire(rated)
    other = claims.claim_next(make.participant(study))
    assert other.trial_id == rated.trial_id
    with pytest.raises(TrialTaken) as refused:
        send(stale)
    assert "Someone else has finished this one" in refused.value.sentence
    assert refused.value.current is None
    with pytest.raises(TrialTaken):
        save_draft(stale, {})
    send(other)
    assert Answer.objects.count() == 1
    assert Trial.objects.get().claims_left == 0
