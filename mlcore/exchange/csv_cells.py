"""Cells of CSV files (RFC 4180): nothing in a name is run by the spreadsheet that opens it."""

from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_cell(value: Any) -> Any:
    """What a table writes: the empty text for what is missing, true or false, and an apostrophe before a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def without_apostrophe(text: str) -> str:
    """What stood there before `csv_cell` put an apostrophe in front."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text
