"""Balanced images: the cells, what is wanted of them, the same images where conditions have different AIs."""

from collections import Counter

from annotation.team_ai import Said
from annotation.team_images import cells_of, choose, most_balanced, plan, wanted


def said(rights: str, first: int = 1) -> dict[int, Said]:
    """“RRW”: images from `first` on that the AI gets right or wrong, each less sure than the one before."""
    return {first + place: Said(one == "R", 1 - place / 100) for place, one in enumerate(rights)}


def test_thirds_are_cut_among_the_right_and_among_the_wrong():
    assert cells_of(said("RRRWWWRRR")) == {1: 0, 2: 0, 3: 1, 7: 1, 8: 2, 9: 2, 4: 3, 5: 4, 6: 5}
    assert cells_of({1: Said(True, None), 2: Said(False, 0.5)}) == {2: 3}, "nobody knows how sure: in no third"


def test_equals_fall_into_thirds_by_the_seed_alone():
    votes = {image: Said(True, 1.0) for image in range(90)}
    one, again, other = cells_of(votes, 1), cells_of(votes, 1), cells_of(votes, 2)
    assert one == again != other
    assert Counter(one.values()) == {0: 30, 1: 30, 2: 30}


def test_what_is_wanted_adds_up_and_is_as_even_as_can_be():
    for number in range(40):
        parts = wanted(number)
        assert sum(parts) == number
        assert sum(parts[:3]) - sum(parts[3:]) in (0, 1)
        assert max(parts[:3]) - min(parts[:3]) <= 1


def test_one_ai_gives_every_condition_the_same_balanced_images():
    cells = cells_of(said("RW" * 30))
    first, second = choose([cells, cells], 12)
    assert first == second
    assert Counter(cells[image] for image in first) == dict.fromkeys(range(6), 2)
    assert most_balanced([cells]) == 60
    assert most_balanced([cells], set(first)) == 48


def test_two_ais_are_both_balanced_and_share_what_they_can():
    # The second is right on half of what the first gets wrong, and the other way round.
    one, other = cells_of(said("RW" * 60)), cells_of(said("RRWW" * 30))
    first, second = choose([one, other], 24)
    assert Counter(one[image] for image in first) == Counter(other[image] for image in second)
    assert set(Counter(one[image] for image in first).values()) == {4}
    assert set(first) == set(second), "there are enough that both agree and disagree about"


def test_where_ais_differ_too_much_each_condition_fills_its_own():
    # Where the first is wrong the second is right, and there is no image that both get wrong.
    one, other = cells_of(said("R" * 30 + "W" * 30)), cells_of(said("W" * 6 + "R" * 54))
    first, second = choose([one, other], 12)
    assert Counter(one[image] // 3 for image in first) == {0: 6, 1: 6}
    assert Counter(other[image] // 3 for image in second) == {0: 6, 1: 6}
    assert 0 < len(set(first) & set(second)) <= 12


def test_a_plan_keeps_its_parts_apart_and_says_what_is_short():
    numbers = {"practice": 6, "qualification": 10, "main": None}
    found = plan(["only"], [said("R" * 60 + "W" * 30)], numbers, candidates=100)
    practice, qualification, main = (set(found.parts[part][0]) for part in numbers)
    assert not practice & qualification
    assert not (practice | qualification) & main
    assert (len(practice), len(qualification), found.left_out, found.shared) == (6, 10, 10, len(main))
    assert found.short == []
    assert {row.taken["main"] for row in found.tables[0]} == {len(main) // 6}
    few = plan(["only"], [said("R" * 60 + "W" * 6)], {"practice": 0, "qualification": 0, "main": 30})
    assert few.short == [f"only: AI wrong, {third}: 5 are wanted, there are 2." for third in
                         ("most sure", "in between", "least sure")]  # fmt: skip
    assert len(few.parts["main"][0]) == 21
