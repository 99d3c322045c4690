"""Tables of labels: file, label (an index or a name), perhaps class, split and a box; several rows a file may stand."""

from __future__ import annotations

from pathlib import Path

from mlcore.exchange.boxes import BadBox, parse_box
from mlcore.exchange.parts import part_of
from mlcore.exchange.plan import Plan, Planned
from mlcore.exchange.readers import BOX_COLUMNS, FILE_COLUMNS, Folder, Row, Table, checked_name, clean_name, read_table
from mlcore.exchange.report import ImportRefused, Problem

MAX_CLASSES = 100_000
LABEL_COLUMNS = ("label", "label_index", "class_index")
CLASS_COLUMNS = ("class", "class_name")
SPLIT_COLUMNS = ("split", "part")


class BadRow(Exception):
    """A row that cannot be taken; `field` is the column."""

    def __init__(self, sentence: str, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


def plan_table(path: Path, source: Path, *, known: list[str] | None = None, class_column: str | None = None) -> Plan:
    """Reads a table whose files lie below `source` (or below `source`/images).

    known: classes that are already fixed; then a label must be one of them. class_column: the column that names
    the class; by default “class” where the table has it. Raises ImportRefused where the table cannot be used.
    """
    return plan_rows(read_table(path), source, known=known, class_column=class_column)


def plan_rows(table: Table, source: Path, *, known: list[str] | None = None, class_column: str | None = None) -> Plan:
    """As `plan_table`, of a table that has been read."""
    labeller = _Labeller(table, known, class_column)
    folders = [Folder(source)] + ([Folder(source / "images")] if (source / "images").is_dir() else [])
    split_column = table.first_of(SPLIT_COLUMNS)
    boxed = all(column in table.columns for column in BOX_COLUMNS)
    file_column = table.first_of(FILE_COLUMNS) or ""
    items: dict[str, Planned] = {}
    problems = list(table.problems)
    for row in table.rows:
        try:
            label = labeller.label(row)
            item = _item(row, file_column, folders)
            part = _part(row, split_column)
            kept = items.setdefault(item.name, item)
            if kept is not item and kept.part != part:
                raise BadRow(f"The file stands in row {kept.row} already, in another part.", split_column or "")
            kept.part = part
            fresh = label not in kept.labels
            if fresh:
                kept.labels.append(label)
            has_box = boxed and any(row[column] for column in BOX_COLUMNS)
            if has_box:
                kept.boxes.append(parse_box(row, table=table.name, classes=labeller.classes))
            elif not fresh:
                raise BadRow(f"The file stands in row {kept.row} already.", file_column)
        except (BadRow, BadBox) as error:
            problems.append(Problem(str(error), _where(table, row, file_column), row.number, error.field))
    if not items:
        raise ImportRefused(f"{table.name}: no row could be used.", problems)
    return Plan(labeller.classes, list(items.values()), problems)


def _where(table: Table, row: Row, file_column: str) -> str:
    return f"{table.name} ({row[file_column]})" if row[file_column] else table.name


def _item(row: Row, column: str, folders: list[Folder]) -> Planned:
    said = None
    for folder in folders:
        try:
            path = folder.find(row[column])
            # The table's own spelling is the name: the folder “images” between is ours to add, not theirs.
            return Planned(checked_name(path.relative_to(folder.root).as_posix()), path, row=row.number)
        except ValueError as error:
            said = said or error
    raise BadRow(str(said), column)


def _part(row: Row, column: str | None) -> str:
    if column is None or not row[column]:
        return ""
    part = part_of(row[column])
    if part is None:
        raise BadRow(f"“{row[column]}” is not a part. Known: train, annotation_pool, validation, test.", column)
    return str(part)


class _Labeller:
    """Turns a row's label into an index into `classes`, which it settles first from all rows."""

    def __init__(self, table: Table, known: list[str] | None, class_column: str | None) -> None:
        if class_column is not None and class_column.strip().lower() not in table.columns:
            raise ImportRefused(f"{table.name}: there is no column “{class_column}”.")
        self.index_column = table.first_of(LABEL_COLUMNS)
        self.name_column = class_column.strip().lower() if class_column else table.first_of(CLASS_COLUMNS)
        if self.index_column is None and self.name_column is None:
            raise ImportRefused(f"{table.name}: no column says the class. Add a column “label”.")
        if self.index_column and not self._mostly_indices(table):
            # Labels that are words: they name the classes themselves unless another column was asked for.
            self.name_column = self.name_column or self.index_column
            self.index_column = None
        if self.index_column and self.name_column and class_column and not self._one_to_one(table):
            self.index_column = None  # a coarser column, such as a family: its names make classes of their own
        self.fixed = known is not None
        self.classes = list(known) if known is not None else self._settle(table)
        self.positions = {name: index for index, name in enumerate(self.classes)}

    def _mostly_indices(self, table: Table) -> bool:
        # One slip of the pen among numbers is a bad row, not a reason to read all labels as words.
        said = [row[self.index_column or ""] for row in table.rows]
        return 2 * sum(value.isdecimal() for value in said) >= sum(bool(value) for value in said)

    def _pairs(self, table: Table) -> set[tuple[str, str]]:
        assert self.index_column is not None
        assert self.name_column is not None
        pairs = {(row[self.index_column], clean_name(row[self.name_column])) for row in table.rows}
        return {(index, name) for index, name in pairs if index and name}

    def _one_to_one(self, table: Table) -> bool:
        pairs = self._pairs(table)
        return len({index for index, _ in pairs}) == len(pairs) == len({name for _, name in pairs})

    def _settle(self, table: Table) -> list[str]:
        if self.index_column is None:
            assert self.name_column
            return sorted({clean_name(row[self.name_column]) for row in table.rows if row[self.name_column]})
        said = [row[self.index_column] for row in table.rows]
        usable = [int(value) for value in said if value.isdecimal() and int(value) < MAX_CLASSES]
        names = {index: str(index) for index in range(max(usable, default=-1) + 1)}
        if self.name_column:
            taken: set[str] = set()
            for row in table.rows:
                index, name = row[self.index_column], clean_name(row[self.name_column])
                # The first row that names an index decides; a later one that disagrees is named by `label`.
                if index.isdecimal() and names.get(int(index)) == str(int(index)) and name and name not in taken:
                    names[int(index)] = name
                    taken.add(name)
        return list(names.values())

    def label(self, row: Row) -> int:
        """Raises BadRow."""
        name = clean_name(row[self.name_column]) if self.name_column else ""
        if self.index_column is None:
            assert self.name_column
            if not name:
                raise BadRow("The class is missing.", self.name_column)
            if name not in self.positions:
                raise BadRow(
                    f"“{name}” is not a class of this set. Classes are fixed by the first import.", self.name_column
                )
            return self.positions[name]
        said = row[self.index_column]
        if not said.isdecimal():
            raise BadRow(f"“{said}” is not a label." if said else "The label is missing.", self.index_column)
        index = int(said)
        if index >= len(self.classes):
            limit = len(self.classes) - 1 if self.fixed else MAX_CLASSES - 1
            raise BadRow(f"The label {index} is out of range: 0 to {limit}.", self.index_column)
        if name and self.classes[index] != name:
            raise BadRow(
                f"The label {index} is “{self.classes[index]}”, the row says “{name}”.", self.name_column or ""
            )
        return index
