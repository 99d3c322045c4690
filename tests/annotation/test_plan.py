"""The plan of a study: defaults, and what is said about each part that does not fit."""

import pytest

from annotation.errors import PlanInvalid
from annotation.markup import is_web_address, render
from annotation.plan import clean_plan, code_for, default_plan


def errors(**parts):
    with pytest.raises(PlanInvalid) as caught:
        clean_plan(parts)
    return caught.value.errors


def test_the_default_is_main_trials_for_everyone_with_an_account():
    plan = default_plan()
    assert plan["introduction"] == plan["exit"] == []
    assert plan["qualification"] == {"pass_mark": 0.8, "tries": 2}
    assert plan["people"] == {
        "accounts": True, "open_link": False, "nickname": True, "prolific": False, "time_limit_minutes": None,
    }  # fmt: skip
    assert plan["replace"] == ["failed_checks", "returned", "timed_out"]
    assert clean_plan(plan) == plan, "what was cleaned once stays as it is"


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"entry": {}}, "entry"),
        ({"introduction": [{"title": "A", "text": " "}]}, "introduction.0.text"),
        ({"introduction": "text"}, "introduction"),
        ({"qualification": {"pass_mark": 80}}, "qualification.pass_mark"),
        ({"qualification": {"tries": 0}}, "qualification.tries"),
        ({"qualification": {"tries": True}}, "qualification.tries"),
        ({"checks": {"on_fail": "shout"}}, "checks.on_fail"),
        ({"checks": {"allowed_misses": -1}}, "checks.allowed_misses"),
        ({"exit": [{"kind": "choice", "question": "Which?", "choices": ["a", "a"]}]}, "exit.0.choices"),
        ({"exit": [{"kind": "scale", "question": ""}]}, "exit.0.question"),
        ({"exit": [{"name": "Age", "question": "How old?"}]}, "exit.0.name"),
        ({"exit": [{"name": "a", "question": "1"}, {"name": "a", "question": "2"}]}, "exit.1.name"),
        ({"exit": [{"kind": "essay", "question": "?"}]}, "exit.0.kind"),
        ({"completion": {"return_url": "javascript:alert(1)"}}, "completion.return_url"),
        ({"completion": {"codes": {"completed": "with space"}}}, "completion.codes.completed"),
        ({"completion": {"codes": {"completed": "X", "screened_out": "X"}}}, "completion.codes"),
        ({"people": {"prolific": "yes"}}, "people.prolific"),
        ({"people": {"time_limit_minutes": 0}}, "people.time_limit_minutes"),
        ({"replace": ["completed"]}, "replace"),
    ],
)
def test_each_part_says_what_is_wrong(parts, field):
    found = errors(**parts)
    assert field in found
    assert found[field].endswith(".")


def test_several_faults_are_said_at_once():
    assert len(errors(qualification={"tries": 9}, checks={"allowed_misses": None}, replace="all")) == 3


def test_codes_belong_to_outcomes_that_have_one():
    plan = clean_plan({"completion": {"codes": {"completed": "C1", "screened_out": "S1"}}})
    assert code_for(plan, "completed") == "C1"
    assert code_for(plan, "screened_out") == "S1"
    assert code_for(plan, "failed_checks") == ""
    assert code_for(plan, "returned") == ""


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "//host", "data:text/html,x", "ftp://a.b", "", "http://", "http://[::1"]
)
def test_only_addresses_of_the_web_are_links(address):
    assert not is_web_address(address)


def test_markup_shows_html_and_never_runs_it():
    html = render("<script>alert(1)</script> <img src=x onerror=alert(1)> [go](javascript:alert(1)) **bold**")
    assert "<script" not in html
    assert "<img" not in html
    assert "href" not in html
    assert "<strong>bold</strong>" in html


def test_markup_shows_the_studys_own_pictures_only():
    html = render("![A map](picture:map) ![Spy](https://tracker.example/p.png)", {"map": "/studies/1/pictures/map/"})
    assert 'src="/studies/1/pictures/map/"' in html
    assert 'alt="A map"' in html
    assert "tracker" not in html
    assert "Spy" in html


def test_links_open_beside_the_study():
    html = render("[rules](https://example.org/rules)")
    assert 'target="_blank"' in html
    assert "noopener" in html
