"""A table of decisions: read as people save it, its columns guessed, every row checked by its field."""

from collections.abc import Sequence

import pytest

from annotation.exchange.decisions import Sheet, parse_sheet
from annotation.exchange.decisions_columns import BY_NAME, Reading, changed
from annotation.exchange.decisions_guess import guess
from annotation.exchange.decisions_preview import preview
from annotation.exchange.decisions_rows import Decisions, read_decisions
from mlcore.exchange.report import ImportRefused

PLAIN = """person,image,method,ai_label,truth,accepted
Ann,a.png,maps,Monarch,Monarch,1
Ann,b.png,maps,Zebra,Monarch,0
Bob,a.png,none,Monarch,Monarch,0
Bob,b.png,none,Zebra,Monarch,1
"""


def sheet_of(text: str, name: str = "t.csv") -> Sheet:
    return parse_sheet(text.encode(), name)


def decided(text: str, **wanted: str) -> Decisions:
    sheet = sheet_of(text)
    return read_decisions(sheet, changed(sheet, guess(sheet), wanted))


def said(found: Decisions) -> list[tuple]:
    return [(one.person, one.shown.condition, one.shown.ai_right, one.accepted, one.correct) for one in found.said]


# --- the file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_spreadsheet_may_save_it_as_it_likes(encoding: str, delimiter: str) -> None:
    text = PLAIN.replace("Ann", "Ännchen").replace(",", delimiter).replace("\n", "\r\n")
    sheet = parse_sheet(text.encode(encoding), "t.csv")
    assert (len(sheet.rows), sheet.delimiter) == (4, delimiter)
    assert sheet.columns[0] == "person"  # no byte order mark before it
    found = read_decisions(sheet, guess(sheet))
    assert [one.person for one in found.said] == ["Ännchen", "Ännchen", "Bob", "Bob"]
    told = preview(sheet, guess(sheet), found)
    assert bool(told.notes) == (encoding == "cp1252")  # what was taken for granted is said


def test_a_hint_of_excel_and_empty_lines_are_no_rows() -> None:
    sheet = sheet_of("sep=;\n\n" + PLAIN.replace(",", ";") + ";;;;;\n\n")
    assert sheet.columns == ("person", "image", "method", "ai_label", "truth", "accepted")
    assert [row.number for row in sheet.rows] == [4, 5, 6, 7]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the table is empty"),
        (b"\n \n", "the table is empty"),
        (b"person,image\n", "no row below"),
        (b"person\nAnn\n", "one column alone"),
        (b"a,b,A\n1,2,3\n", "“a” stands twice"),
        (b'a,b\n"1,2\n', "cannot be read near line"),
        (b"PK\x03\x04\x00\x00,x\n1,2\n", "not a text table"),
        ("a,b\n1,2\n".encode("utf-16")[:-1], "not a text table"),
        (b"sep=|\na|b\n1|2\n", "not by “|”"),
        (b",".join(b"c%d" % i for i in range(201)) + b"\n1\n", "has 201 columns"),
        (b"a,b\n" + b"x" * 200_000 + b",1\n", "larger than field limit"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(ImportRefused, match=sentence):
        parse_sheet(data, "t.csv")


def test_too_many_rows_are_refused_with_the_way_out() -> None:
    with pytest.raises(ImportRefused, match=r"more than 3 rows\. Import it with manage\.py import_decisions"):
        parse_sheet(PLAIN.encode(), "t.csv", most_rows=3)


def test_rows_that_cannot_be_cut_into_cells_are_problems_by_line() -> None:
    found = decided(PLAIN.replace("Ann,b.png,", "Ann,b.png,extra,"))
    assert [(one.row, one.sentence) for one in found.problems] == [(3, "the row has 7 cells, the first line 6.")]
    assert len(found.said) == 3


def test_a_formula_stays_text_and_loses_only_what_an_export_put_before_it() -> None:
    found = decided(PLAIN.replace("a.png", "'=HYPERLINK(1)").replace("Bob", "@bob"))
    assert {one.shown.image for one in found.said} == {"=HYPERLINK(1)", "b.png"}
    assert {one.person for one in found.said} == {"Ann", "@bob"}


def test_control_characters_never_reach_a_terminal_or_a_row() -> None:
    found = decided(PLAIN.replace("Ann", "An\x1b[31mn"))
    assert {one.person for one in found.said} == {"An [31mn", "Bob"}
    assert "cannot be printed" in str(decided(PLAIN.replace("Ann", "A\u202enn"), person="person").problems[0])


# --- the columns ----------------------------------------------------------------------------------------------


def test_columns_are_known_by_their_names() -> None:
    sheet = sheet_of(PLAIN)
    assert guess(sheet) == Reading(
        {"person": "person", "image": "image", "condition": "method", "label": "ai_label", "truth": "truth",
         "accepted": "accepted"}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("column", "values", "role"),
    [
        ("rt", ("812", "1204"), "milliseconds"),
        ("rt", ("0.8", "12.4"), "seconds"),
        ("time", ("3,5", "4,25"), "seconds"),
        ("Duration (ms)", ("12", "15"), "milliseconds"),
        ("Response Time_s", ("812", "900"), None),  # the name is nobody's
        ("phase", ("training", "test"), "phase"),
        ("phase", ("3", "4"), None),  # such values are no phases
        ("Prolific PID", ("a", "b"), None),  # a person has a column already
    ],
)
def test_a_column_is_taken_where_its_values_can_be_read_so(column: str, values: Sequence[str], role: str) -> None:
    text = f"person;image;accepted;{column}\nAnn;a.png;1;{values[0]}\nAnn;b.png;0;{values[1]}\n"
    found = guess(sheet_of(text)).columns
    assert {name for name, said in found.items() if said == column} == ({role} if role else set())


def test_every_condition_takes_the_label_that_fits_its_rows() -> None:
    """Two AIs of one picture: only one column each agrees with what the table says of being right."""
    sheet = sheet_of(
        "person,image,method,truth,ai_correct,accepted,pred_a,pred_b\n"
        "Ann,1.png,alpha,x,1,1,x,y\nAnn,2.png,alpha,x,0,1,y,x\n"
        "Bob,1.png,beta,x,0,1,x,y\nBob,2.png,beta,x,1,0,y,x\n"
    )
    assert guess(sheet).labels == {"alpha": "pred_a", "beta": "pred_b"}
    shown = [line.option for line in preview(sheet, guess(sheet), None).lines if line.option.startswith("label")]
    assert shown == ["label", "label:alpha", "label:beta"]


def test_of_labels_that_fit_alike_the_name_decides_and_without_a_clue_nothing_is_guessed() -> None:
    head = "person,image,method,truth,ai_correct,accepted,pred_knn,pred_emd,pred_other\n"
    sheet = sheet_of(head + "Ann,1.png,EMD-Corr,x,1,1,x,x,y\nBob,1.png,kNN,x,1,1,x,x,y\n")
    assert guess(sheet).labels == {"EMD-Corr": "pred_emd", "kNN": "pred_knn"}
    alike = sheet_of(head + "Ann,1.png,EMD-Corr,x,1,1,x,x,x\n")
    assert guess(alike).labels == {}
    assert guess(alike).columns["label"] == "pred_knn"


def test_a_reading_is_changed_by_role_and_condition() -> None:
    sheet = sheet_of("who,image,method,accepted,one,two\nAnn,a.png,maps,1,x,y\n")
    reading = changed(sheet, guess(sheet), {"person": "who", "label:maps": "two", "condition": "method"})
    assert (reading.columns["person"], reading.label_column("maps")) == ("who", "two")
    again = changed(sheet, reading, {"label": "one"})
    assert again.label_column("maps") == "one"
    assert changed(sheet, again, {"label": ""}).label_column("maps") is None


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"people": "person"}, "There is no “people” to read"),
        ({"person:maps": "person"}, "There is no “person:maps” to read"),
        ({"person": "who"}, "no column “who”"),
        ({"label:heat": "ai_label"}, "No row is of the condition “heat”"),
        ({"person": ""}, "Say which column holds the person"),
        ({"accepted": ""}, "whether the person accepted"),
        ({"truth": "ai_label"}, "“ai_label” is read as two things"),
        ({"seconds": "accepted", "milliseconds": "truth"}, "in seconds or in milliseconds"),
    ],
)
def test_a_reading_that_does_not_hold_is_refused(wanted: dict[str, str], sentence: str) -> None:
    with pytest.raises(ImportRefused, match=sentence):
        decided(PLAIN, **wanted)


def test_a_column_of_too_many_values_is_no_condition() -> None:
    rows = "".join(f"Ann,{i}.png,{i},1\n" for i in range(61))
    with pytest.raises(ImportRefused, match="61 different values"):
        decided("person,image,method,accepted\n" + rows)


# --- the rows -------------------------------------------------------------------------------------------------


def test_right_and_correct_follow_from_what_stands_there() -> None:
    expected = [
        ("Ann", "maps", True, True, True), ("Ann", "maps", False, False, True),
        ("Bob", "none", True, False, False), ("Bob", "none", False, True, False),
    ]  # fmt: skip
    assert said(decided(PLAIN)) == expected
    by_column = (
        "person,image,method,ai_correct,accepted\n"
        "Ann,a,maps,yes,yes\nAnn,b,maps,no,no\nBob,a,none,TRUE,n\nBob,b,none,0,y\n"
    )
    assert said(decided(by_column)) == expected
    by_correct = (
        "person,image,method,ai_correct,user_correct\nAnn,a,maps,1,1\nAnn,b,maps,0,1\nBob,a,none,1,0\nBob,b,none,0,0\n"
    )
    assert said(decided(by_correct)) == expected
    by_both = "person,image,method,accepted,correct\nAnn,a,maps,1,1\nAnn,b,maps,0,1\nBob,a,none,0,0\nBob,b,none,1,0\n"
    assert said(decided(by_both)) == expected


def test_what_the_picture_shows_may_stand_in_one_of_its_rows() -> None:
    found = decided(PLAIN.replace("Bob,a.png,none,Monarch,Monarch", "Bob,a.png,none,Zebra,"))
    assert [one.shown.ai_right for one in found.said] == [True, False, False, False]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (",a.png,m,x,x,1,1,1,.5,3", "column person: it is empty."),
        ("A,,m,x,x,1,1,1,.5,3", "column image: it is empty."),
        ("A,a.png,,x,x,1,1,1,.5,3", "column method: it is empty."),
        ("A,a.png,m,x,x,maybe,1,1,.5,3", "column ai_correct: “maybe” is neither true nor false."),
        ("A,a.png,m,x,x,0,1,1,.5,3",
         "column ai_correct: it says that the AI is wrong, but the AI said “x” and the picture shows “x”."),
        ("A,a.png,m,x,x,1,,,.5,3", "column accepted: it is empty."),
        ("A,a.png,m,x,x,1,1,0,.5,3", "column user_correct: the person accepted what was right, and is called wrong."),
        ("A,a.png,m,x,z,0,1,0,.5,3", "column truth: “a.png” shows “z” here and “x” in row 2."),
        ("A,a.png,m,x,x,1,1,1,1.5,3", "column confidence: “1.5” is more than 100 %."),
        ("A,a.png,m,x,x,1,1,1,-1,3", "column confidence: -1 does not lie between 0 and"),
        ("A,a.png,m,x,x,1,1,1,nan,3", "column confidence: nan does not lie between 0 and"),
        ("A,a.png,m,x,x,1,1,1,sure,3", "column confidence: “sure” is not a number."),
        ("A,a.png,m,x,x,1,1,1,.5,9999999999", "column seconds: 9999999999 does not lie between"),
        ("A,a.png,m,x,x,1,1,1,.5,99999999", "column seconds: “99999999” is longer than 24 days."),
        (f"{'A' * 201},a.png,m,x,x,1,1,1,.5,3", "column person: it has 201 characters; at most 200 are taken."),
        (f"A,a.png,{'m' * 81},x,x,1,1,1,.5,3", "column method: it has 81 characters; at most 80 are taken."),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_by_its_line_and_field(row: str, told: str) -> None:
    head = "person,image,method,ai_label,truth,ai_correct,accepted,user_correct,confidence,seconds\n"
    good = "B,a.png,m,x,x,1,1,1,0.5,2\nB,c.png,m,x,y,0,1,0,0.25,2\n"
    # More good rows, so that columns are guessed in spite of the bad one.
    more = "".join(f"B,{i}.png,m,x,x,1,1,1,0.5,2\n" for i in range(12))
    found = decided(head + good + row + "\n" + more)
    assert len(found.said) == 14
    (problem,) = found.problems
    assert problem.row == 4
    assert str(problem).startswith(f"t.csv, row 4, {told}"), str(problem)


def test_a_label_is_right_about_a_picture_or_it_is_not() -> None:
    found = decided("person,image,ai_label,ai_correct,accepted\nA,a.png,x,1,1\nB,a.png,x,0,1\n")
    assert [str(one) for one in found.problems] == [
        "t.csv, row 3, column ai_correct: “x” is wrong for “a.png” here and right in row 2."
    ]


def test_the_first_answer_of_a_person_to_a_trial_counts() -> None:
    found = decided(PLAIN + "Ann,a.png,maps,Monarch,Monarch,1\nBob,a.png,none,Monarch,Monarch,1\n")
    assert (len(found.said), found.repeated, found.contradicting) == (4, 2, 1)
    assert said(found) == said(decided(PLAIN))


@pytest.mark.parametrize(
    ("values", "shares"),
    [
        (("0.5", "1"), [0.5, 1.0]),
        (("50", "99.5"), [0.5, 0.995]),
        (("50 %", "1%"), [0.5, 0.01]),
        (("0,5", "0,25"), [0.5, 0.25]),
    ],
)
def test_confidence_is_a_share_or_in_per_cent(values: Sequence[str], shares: list[float]) -> None:
    text = f"person;image;accepted;confidence\nA;a.png;1;{values[0]}\nA;b.png;1;{values[1]}\n"
    assert [one.shown.confidence for one in decided(text).said] == shares


def test_the_name_of_a_column_may_say_per_cent() -> None:
    found = decided("person,image,accepted,ai_confidence_pct\nA,a.png,1,1\n")
    assert found.said[0].shown.confidence == 0.01


def test_phases_times_and_places_come_along() -> None:
    found = decided(
        "person,image,accepted,phase,trial,seconds,own_confidence,counts,participant_kind\n"
        "A,a.png,1,Training,1,2.5,,true,human\nA,b.png,0,test,7,1.25,4,true,simulated\nA,c.png,0,test,8,1,4,false,human\n"
    )
    rows = [(one.shown.phase, one.place, one.milliseconds, one.own_confidence, one.kind) for one in found.said]
    assert rows == [("practice", 1, 2500, None, "imported"), ("main", 7, 1250, 4, "simulated")]
    assert found.not_counting == 1
    assert [cell.answers for cell in found.cells()] == [1]  # of main trials alone


def test_every_role_says_what_it_is() -> None:
    for role in BY_NAME.values():
        assert role.title
        assert role.help.endswith(".")
        assert role.names
