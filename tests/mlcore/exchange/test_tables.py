"""Tables of labels in the forms that people leave them in, and rows that cannot be taken."""

import pytest

from mlcore.exchange.images import ImportRefused, import_folder
from mlcore.exchange.readers import read_class_list, read_table
from mlcore.models import Box, ImageLabel
from tests.mlcore.exchange.pictures import save

pytestmark = pytest.mark.django_db


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate("abcd"):
        save(tmp_path / "set" / f"{name}.png", seed)
    return tmp_path / "set"


def run(folder, text: str, **options):
    table = folder.parent / "table.csv"
    table.write_bytes(text.encode() if isinstance(text, str) else text)
    return import_folder(folder, name="Set", labels=table, **options)


def labels() -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name, index in ImageLabel.objects.order_by("id").values_list("image__name", "index"):
        found.setdefault(name, []).append(index)
    return found


def test_labels_that_are_names(folder):
    report = run(folder, "file,label\na.png,wolf\nb.png,ant\n")
    assert report.image_set.classes == ["ant", "wolf"]
    assert labels() == {"a.png": [1], "b.png": [0]}


def test_indices_with_names_beside_them_and_a_gap(folder):
    report = run(folder, "\ufefffile;label;class;split\na.png;2;wolf;train\nb.png;0;ant;val\n")
    assert report.image_set.classes == ["ant", "1", "wolf"]
    assert labels() == {"a.png": [2], "b.png": [0]}
    assert report.splits == {"a.png": "train", "b.png": "validation"}


def test_a_coarser_column_makes_classes_of_its_own(folder):
    text = "file,label,class,family\na.png,0,ant,insect\nb.png,1,bee,insect\nc.png,2,cat,mammal\n"
    report = run(folder, text, class_column="family")
    assert report.image_set.classes == ["insect", "mammal"]
    assert labels() == {"a.png": [0], "b.png": [0], "c.png": [1]}


def test_another_name_for_each_index_keeps_the_index(folder):
    report = run(folder, "file,label,wnid\na.png,3,n3\nb.png,1,n1\n", class_column="wnid")
    assert report.image_set.classes == ["0", "n1", "2", "n3"]


def test_given_classes_set_the_range(folder):
    report = run(folder, "file,label\na.png,2\nb.png,3\n", classes=["x", "y", "z"])
    assert labels() == {"a.png": [2]}
    assert str(report.problems[0]) == "table.csv (b.png), row 3, column label: The label 3 is out of range: 0 to 2."


def test_several_labels_and_boxes_of_one_file(folder):
    report = run(
        folder,
        "file,label,class,x0,y0,x1,y1\n"
        "a.png,0,ant,1,1,5,5\n"
        "a.png,0,ant,6,6,9,9\n"
        "a.png,1,bee,,,,\n"
        "a.png,1,bee,,,,\n"
        "b.png,1,bee,1,1,0,5\n",
    )
    assert labels() == {"a.png": [0, 1], "b.png": [1]}
    assert Box.objects.count() == report.boxes == 2
    assert [str(problem) for problem in report.problems] == [
        "table.csv (a.png), row 5, column file: The file stands in row 2 already.",
        "table.csv (b.png), row 6, column x1: x1 (0) must be larger than x0 (1).",
    ]


def test_rows_that_cannot_be_taken_are_named_and_the_rest_goes_on(folder):
    report = run(
        folder,
        "file,label,class,split\n"
        "a.png,0,ant,train\n"
        "b.png,-1,bee,train\n"
        "absent.png,0,ant,train\n"
        ",0,ant,train\n"
        "../set/b.png,0,ant,train\n"
        "/etc/passwd,0,ant,train\n"
        "c.png,0,wolf,train\n"
        "c.png,,ant,train\n"
        "c.png,0,ant,holiday\n"
        "c.png,0\n"
        "\n"
        "a.png,0,ant,test\n"
        "d.png,1,bee,test\n",
    )
    assert [(problem.row, problem.field, problem.sentence) for problem in report.problems] == [
        (11, "", "The row has 2 cells, the first line 4."),
        (3, "label", "“-1” is not a label."),
        (4, "file", "There is no such file."),
        (5, "file", "The file's name is missing."),
        (6, "file", "“../set/b.png” leads out of the folder."),
        (7, "file", "“/etc/passwd” leads out of the folder."),
        (8, "class", "The label 0 is “ant”, the row says “wolf”."),
        (9, "label", "The label is missing."),
        (10, "split", "“holiday” is not a part. Known: train, annotation_pool, validation, test."),
        (13, "split", "The file stands in row 2 already, in another part."),
    ]
    assert labels() == {"a.png": [0], "d.png": [1]}
    assert report.splits == {"a.png": "train", "d.png": "test"}


def test_a_link_that_leads_out_is_not_followed(folder, tmp_path):
    (folder / "link.png").symlink_to(save(tmp_path / "secret.png", 9))
    report = run(folder, "file,label\na.png,ant\nlink.png,ant\n")
    assert report.problems[0].sentence == "The file is a link that leads out of the folder."


def test_later_tables_keep_to_the_classes(folder):
    run(folder, "file,label,class\na.png,0,ant\nb.png,1,bee\n")
    report = run(folder, "file,label\na.png,ant\nc.png,cat\nd.png,bee\n")
    assert (report.added, report.already) == (1, 1)
    assert "“cat” is not a class of this set" in str(report.problems[0])
    with pytest.raises(ImportRefused, match="has other classes"):
        run(folder, "file,label\na.png,ant\n", classes=["x", "y"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("name,label\na.png,1\n", "no column names the files"),
        ("file,size\na.png,1\n", "no column says the class"),
        ("file,label,label\na.png,1,1\n", "stands twice"),
        ('file,label\n"a.png,1\n', "cannot be read near line"),
        (b"file,label\n\xff\xfe,1\n", "not UTF-8"),
        ("file,label\na.png,\0\n", "zero bytes"),
        ("file,label\nnone.png,1\n", "no row could be used"),
    ],
)
def test_tables_that_are_no_tables(folder, text, said):
    data = text if isinstance(text, bytes) else text.encode()
    table = folder.parent / "table.csv"
    table.write_bytes(data)
    with pytest.raises(ImportRefused, match=said):
        import_folder(folder, name="Set", labels=table)


def test_unknown_class_column(folder):
    with pytest.raises(ImportRefused, match="no column “genus”"):
        run(folder, "file,label\na.png,1\n", class_column="genus")


def test_tables_by_tab_and_with_quotes(tmp_path):
    (tmp_path / "t.csv").write_text('File\tClass\n"odd, ""name"".png"\tant\n')
    table = read_table(tmp_path / "t.csv")
    assert table.columns == ("file", "class")
    assert table.rows[0]["file"] == 'odd, "name".png'


def test_class_lists(tmp_path):
    (tmp_path / "a.txt").write_text("ant\nbee\n\n")
    (tmp_path / "b.csv").write_text("index,wnid,name\n1,n1,crane\n0,n0,crane\n2,n2,cat\n")
    (tmp_path / "c.csv").write_text("index,name\n0,a\n2,b\n")
    (tmp_path / "d.csv").write_text("index,name\n0,a\n1,\n")
    assert read_class_list(tmp_path / "a.txt") == ["ant", "bee"]
    assert read_class_list(tmp_path / "b.csv") == ["crane (0)", "crane (1)", "cat"]
    with pytest.raises(ImportRefused, match="without a gap"):
        read_class_list(tmp_path / "c.csv")
    with pytest.raises(ImportRefused, match="class 1 has no name"):
        read_class_list(tmp_path / "d.csv")
