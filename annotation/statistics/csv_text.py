"""Figures as CSV."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlcore.exchange.csv_cells import csv_cell


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A line of names and one a row; what a row has beyond the columns is left out."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(columns)
    writer.writerows([csv_cell(row.get(name)) for name in columns] for row in rows)
    return stream.getvalue()
