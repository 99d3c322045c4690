"""Whether a page says nothing but German: every text of it is held against the catalogue."""

import json
import re
from functools import lru_cache
from html.parser import HTMLParser
from typing import Any

from tests.harmony.catalogue import FOLDER, Message, read_po

HEARD = ("aria-label", "title", "alt", "placeholder", "data-done", "aria-description")
# What a researcher wrote begins with this sign in these tests, one word each.
OWN = "§"
_MONTHS = "Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember"
_NO_WORDS = (
    rf"{OWN}[\w-]+",
    rf"\d{{1,2}}\. (?:{_MONTHS}) \d{{4}} \d{{1,2}}:\d{{2}}",
    r"[\d\W_]+",
    r"[A-Z]",  # a key
    "Harmony",
    "English",  # the switch names each language by itself
    "Admiral|Monarch|Zebra",  # classes of the pictures
    r"person-\d+",  # what the visitor is called
)
_HOLE = re.compile(r"%(?:\(\w+\))?[sd]|\{\w+\}")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.language = ""
        self.texts: list[str] = []
        self.json: dict[str, Any] = {}
        self._in = ""
        self._script = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "html":
            self.language = given.get("lang") or ""
        if tag in ("script", "style"):
            self._in, self._script = tag, given.get("id") or ""
        self.texts += [given[name] or "" for name in HEARD if name in given]
        if tag == "meta" and given.get("name") == "description":
            self.texts.append(given["content"] or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._in:
            self._in = ""

    def handle_data(self, data: str) -> None:
        if not self._in:
            self.texts.append(data)
        elif self._script:
            self.json[self._script] = json.loads(data)


def read(html: str) -> _Reader:
    """The page's language, its texts as people see and hear them, and its JSON by id."""
    reader = _Reader()
    reader.feed(html)
    reader.texts = [" ".join(text.split()) for text in reader.texts if text.strip()]
    return reader


def foreign(html: str, *own: str) -> list[str]:
    """Texts of the page that the German catalogue does not know; `own` are further words of this test's people."""
    page = read(html)
    texts = [*page.texts, *page.json.get("words", {}).values()]
    found = [text for text in dict.fromkeys(texts) if not is_german(text, *own)]
    return found if page.language == "de" else [f"lang={page.language!r}", *found]


def is_german(text: str, *own: str) -> bool:
    """Whether the text is made of the catalogue's German sentences, numbers, keys and words that are nobody's."""
    return _said(own).fullmatch(text) is not None


@lru_cache
def _said(own: tuple[str, ...]) -> re.Pattern[str]:
    said: set[str] = set()
    for translations in catalogue().values():
        for text in translations:
            said |= {" ".join(piece.split()) for piece in re.split(r"<[^>]+>", text) if piece.strip()}
    # What stands in for a hole is a number, a name, or words of the catalogue again, never a whole sentence.
    whole = sorted((_pattern(text) for text in said if _HOLE.sub("", text).strip()), key=len, reverse=True)
    known = "|".join([*whole, *_NO_WORDS, *map(re.escape, own)])
    return re.compile(rf"(?:(?:{known})(?:$|(?<=\W)|(?=\W)))+")


def _pattern(text: str) -> str:
    pieces = [re.escape(piece.replace("%%", "%")) for piece in _HOLE.split(text)]
    return rf"(?:{OWN}[\w-]+|[\d.,%× -]+|Admiral|Monarch|Zebra|[a-z]+-[\w-]+|der Fokus[^.]*|%s)".join(pieces)


@lru_cache
def catalogue() -> dict[Message, tuple[str, ...]]:
    found, _flags = read_po(FOLDER / "django.po")
    return {message: said for message, said in found.items() if message.singular}
