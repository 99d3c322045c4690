"""LaTeX and CSV from the dictionary of figures."""

import csv
import io
import re
import subprocess
import sys
from dataclasses import replace

from annotation.statistics.alignment import csv_tables, latex
from annotation.statistics.alignment.gain import Gain
from annotation.statistics.alignment.report import Cell, report
from annotation.statistics.alignment.rows import rows_of
from tests.annotation.statistics.alignment.said import crowd, rows


def figures() -> dict:
    given = crowd(people=3)
    gain = Gain("r&d_1", given.images, [0.1] * 9, [0.1 + place / 100 for place in range(9)], True, 0.98)
    cells = [Cell("cell 0", "rma", "grad_cam", "VGG"), Cell("cell 1", "focus")]
    return report(given, cells, {"cell 0": gain}, ["human"], {"draws": 20})


def test_the_latex_table_has_a_line_a_cell():
    found = figures()
    text = latex.table(found)
    lines = text[text.index("midrule") : text.index("bottomrule")].splitlines()[1:-1]
    first = found["cells"][0]
    assert [line.split(" & ")[0].strip() for line in lines] == ["cell 0", "cell 1", r"\midrule", "all cells"]
    values = lines[0].removesuffix(r" \\").split(" & ")
    assert len(values) == len(latex._HEAD)
    assert values[1:3] == ["3", "9"]
    assert values[5] == f"{100 * first['shares']['tuned']:.1f}"
    assert values[6] == f"${first['alignment']['mean']:+.2f}$"
    assert values[10] == "$+0.040$"
    assert lines[1].endswith(r"-- \\")
    assert "These raters only." in text
    assert r"(3 human)" in text


def test_names_are_no_commands():
    given = replace(rows({"a": "tt", "b": "to"}), cells=(r"\input{x} 50% & a_b #1 $^~ <é×",))
    text = latex.table(report(given, [Cell(given.cells[0])], {}, ["human"], {}))
    assert (
        r"\textbackslash{}input\{x\} 50\% \& a\_b \#1 \$\textasciicircum{}\textasciitilde{} \textless{}é$\times$ &"
        in text
    )
    assert "\\input" not in text
    assert latex.escaped("a\nb") == "a b"
    assert text.count("{") == text.count("}")


def test_small_p_and_what_is_missing():
    assert latex._p(0.0004) == "$<0.001$"
    assert latex._p(0.0123) == "0.012"
    text = latex.table(report(rows_of([], cells=[""]), [Cell("")], {}, ["human"], {}))
    assert re.search(r"all pairs & 0 & 0 & -- & -- & -- & -- & -- & -- & -- & -- \\\\", text)


def test_tables_as_csv():
    found = figures()
    cells = list(csv.DictReader(io.StringIO(csv_tables.cells(found))))
    assert [row["cell"] for row in cells] == ["cell 0", "cell 1", "all cells"]
    first = found["cells"][0]
    assert tuple(cells[0]) == csv_tables.CELL_COLUMNS
    assert float(cells[0]["alignment"]) == first["alignment"]["mean"]
    assert (cells[0]["original"], cells[0]["original_name"]) == (str(first["counts"]["original"]), "original")
    assert float(cells[0]["gain_difference"]) == first["gain"]["difference"]
    assert (cells[1]["gain_difference"], cells[1]["declared"], cells[2]["p_holm"]) == ("", "true", "")
    assert cells[0]["bootstrap_low"] == ""
    assert cells[0]["bootstrap_reason"].startswith("Fewer than 10")
    # Every other column holds something somewhere, so that no name is misspelt.
    empty = {name for name in csv_tables.CELL_COLUMNS if all(row[name] == "" for row in cells)}
    assert empty <= {"bootstrap_low", "bootstrap_high", "mixed_reason", "bt_reason"}
    people = list(csv.DictReader(io.StringIO(csv_tables.raters(found))))
    assert [(row["cell"], row["rater"]) for row in people[:3]] == [("cell 0", f"p0{n}") for n in range(3)]
    assert len(people) == 9
    images = list(csv.DictReader(io.StringIO(csv_tables.images(found))))
    assert len(images) == 18
    assert [row | {"tuned": int(row["tuned"])} for row in images[:1]] == [
        {key: value if key == "tuned" else str(value) for key, value in first["images_table"][0].items()}
    ]


def test_no_cell_of_a_spreadsheet_is_a_formula():
    given = rows_of([("=1+1", "@x", "+c", 1)])
    found = report(given, [Cell("+c")], {}, ["human"], {})
    assert next(csv.DictReader(io.StringIO(csv_tables.raters(found))))["rater"] == "'=1+1"
    assert next(csv.DictReader(io.StringIO(csv_tables.images(found))))["image"] == "'@x"


def test_tables_need_no_library():
    code = (
        "import sys; from annotation.statistics.alignment import csv_tables, latex;"
        "sys.exit(bool({'numpy', 'django', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
