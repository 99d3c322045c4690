"""Scripted annotators err as often and as far as they say."""

import numpy as np
import pytest

from mlcore.exchange.scripted import ErrorRates, Rating, ScriptedAnnotator

PERFECT = ErrorRates(boundary=0.0, missed=0.0, wrong_rating=0.0)


def _disc(size=128, radius=40):
    ys, xs = np.mgrid[0:size, 0:size] - (size - 1) / 2
    return ys**2 + xs**2 <= radius**2


def _iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_without_error_the_drawing_is_the_mask():
    drawn = ScriptedAnnotator(0, PERFECT).draw(_disc(), "a.png")
    assert drawn.dtype == bool
    assert np.array_equal(drawn, _disc())


def test_the_outline_moves_by_the_stated_deviation():
    """On a disc, the drawn radius along a ray differs from the true one by the field's radial component."""
    mask, rates = _disc(), ErrorRates(boundary=0.02, missed=0, wrong_rating=0)
    annotator = ScriptedAnnotator(1, rates)
    errors = []
    for n in range(60):
        drawn = annotator.draw(mask, f"{n}.png")
        row, column = drawn[64], drawn[:, 64]
        errors += [row[64:].sum() - 40, row[:64].sum() - 40, column[64:].sum() - 40, column[:64].sum() - 40]
    expected = 0.02 * 128
    assert np.mean(errors) == pytest.approx(0, abs=0.6)
    assert np.std(errors) == pytest.approx(expected, rel=0.25)


def test_more_noise_means_less_overlap():
    def mean_iou(boundary):
        annotator = ScriptedAnnotator(2, ErrorRates(boundary=boundary, missed=0, wrong_rating=0))
        return np.mean([_iou(annotator.draw(_disc(), str(n)), _disc()) for n in range(12)])

    assert 1 > mean_iou(0.01) > mean_iou(0.03) > mean_iou(0.06) > 0.4


def test_drawings_are_missed_as_often_as_stated():
    annotator = ScriptedAnnotator(3, ErrorRates(boundary=0, missed=0.2, wrong_rating=0))
    missed = [annotator.draw(_disc(16, 4), str(n)) is None for n in range(1500)]
    assert np.mean(missed) == pytest.approx(0.2, abs=0.032)  # three standard deviations


def test_the_same_person_draws_an_image_alike_and_two_people_do_not():
    first, again, other = (ScriptedAnnotator(seed).draw(_disc(), "x.png") for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_order_of_the_images_does_not_matter():
    one, two = ScriptedAnnotator(5), ScriptedAnnotator(5)
    forward = [one.draw(_disc(), name) for name in ("a", "b", "c")]
    backward = [two.draw(_disc(), name) for name in ("c", "b", "a")][::-1]
    assert all(np.array_equal(x, y) for x, y in zip(forward, backward, strict=True))


def test_a_small_object_is_never_drawn_as_nothing():
    mask = np.zeros((64, 64), bool)
    mask[30, 30] = True
    annotator = ScriptedAnnotator(0, ErrorRates(boundary=0.1, missed=0, wrong_rating=0))
    assert all(annotator.draw(mask, str(n)).any() for n in range(50))


@pytest.mark.parametrize(
    ("focus", "expected"),
    [
        (np.s_[0:10, 0:10], (True, False)),  # the object itself
        (np.s_[0:10, 0:3], (False, False)),  # 30 % of it, nothing else
        (np.s_[0:10, 0:25], (True, True)),  # all of it; 60 % of the focus lies off it
        (np.s_[12:20, 12:20], (False, True)),  # elsewhere
    ],
)
def test_the_two_questions_are_answered_from_focus_and_object(focus, expected):
    mask, attention = np.zeros((32, 32), bool), np.zeros((32, 32))
    mask[0:10, 0:10] = True
    attention[focus] = 0.9
    rating = ScriptedAnnotator(0, PERFECT).rate(attention, mask, "a")
    assert (rating.necessary, rating.unnecessary) == expected
    assert rating.reasonable is (expected == (True, False))


def test_quality_grows_with_the_overlap_of_focus_and_object():
    mask = np.zeros((1, 100), bool)
    mask[0, :60] = True
    annotator = ScriptedAnnotator(0, PERFECT)

    def quality(width):
        return annotator.rate((np.arange(100) < width)[None].astype(float), mask, "a").quality

    # overlap = width / 60
    assert [quality(width) for width in (3, 12, 18, 30, 60)] == [1, 2, 3, 4, 5]


def test_an_empty_focus_has_no_necessary_details():
    rating = ScriptedAnnotator(0, PERFECT).rate(np.zeros((8, 8)), np.ones((8, 8), bool), "a")
    assert rating == Rating(necessary=False, unnecessary=False, quality=1)


@pytest.mark.parametrize("good", [True, False])
def test_ratings_are_wrong_as_often_as_stated(good):
    mask = _disc(16, 4)
    attention = (mask if good else ~mask).astype(float)
    annotator = ScriptedAnnotator(4, ErrorRates(boundary=0, missed=0, wrong_rating=0.1))
    ratings = [annotator.rate(attention, mask, str(n)) for n in range(2000)]
    assert np.mean([r.reasonable is not good for r in ratings]) == pytest.approx(0.1, abs=0.021)


def test_a_wrong_rating_finds_either_fault():
    annotator = ScriptedAnnotator(4, ErrorRates(boundary=0, missed=0, wrong_rating=1.0))
    mask = _disc(16, 4)
    found = [annotator.rate(mask.astype(float), mask, str(n)) for n in range(200)]
    lacking = np.mean([not r.necessary for r in found])
    assert not any(r.reasonable for r in found)
    assert lacking == pytest.approx(0.5, abs=0.11)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"Image a\.png: the true mask is empty"):
        ScriptedAnnotator(0).draw(np.zeros((4, 4)), "a.png")
    with pytest.raises(ValueError, match="two dimensions"):
        ScriptedAnnotator(0).draw(np.ones((4, 4, 3)), "a.png")
    with pytest.raises(ValueError, match=r"Image a: the map is \(2, 2\)"):
        ScriptedAnnotator(0).rate(np.zeros((2, 2)), np.ones((4, 4)), "a")
    with pytest.raises(ValueError, match="missed lies between 0 and 1"):
        ErrorRates(missed=2)


def test_the_rates_are_said_in_words():
    assert ErrorRates(0.02, 0.05, 0.1).sentence() == (
        "Simulated annotators: outlines off by 2.0% of the image's longer side (standard deviation), "
        "5% of drawings missed, 10% of ratings wrong."
    )


def test_an_exact_annotator_prefers_the_map_with_more_mass_on_the_object():
    mask = np.zeros((4, 4), dtype=bool)
    mask[:, :2] = True
    on, off, half = mask.astype(float), (~mask).astype(float), np.ones((4, 4))
    exact = ScriptedAnnotator(seed=1, rates=ErrorRates(boundary=0, missed=0, wrong_rating=0))
    assert exact.prefer(on, off, mask, "a") == -1
    assert exact.prefer(off, on, mask, "a") == 1
    assert exact.prefer(half, off, mask, "a") == -1
    assert exact.prefer(half, half * 3, mask, "a") == 0
    with pytest.raises(ValueError, match="pixels"):
        exact.prefer(on[:2], off, mask, "a")
    always_wrong = ScriptedAnnotator(seed=1, rates=ErrorRates(boundary=0, missed=0, wrong_rating=1))
    assert always_wrong.prefer(on, off, mask, "a") == 1
    assert {always_wrong.prefer(half, half, mask, str(n)) for n in range(20)} == {-1, 1}


def test_verdicts_err_as_often_as_stated():
    script = ScriptedAnnotator(seed=3, rates=ErrorRates(boundary=0, missed=0, wrong_rating=0.25))
    wrong = sum(not script.accept(True, str(n)) for n in range(2000)) / 2000
    assert abs(wrong - 0.25) < 0.03
    assert script.accept(True, "x") is not script.accept(False, "x")
