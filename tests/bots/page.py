"""What a page offers to whoever reads its HTML: forms with their fields, links inside them, and JSON for scripts."""

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any


@dataclass
class Field:
    """One control. `options` are the values of a radio group, in the order of the page."""

    name: str
    kind: str
    value: str = ""
    typed: str = "text"  # data-type
    optional: bool = False
    options: list[str] = field(default_factory=list)
    data: dict[str, str] = field(default_factory=dict)


@dataclass
class Form:
    """`fields` by name, in the order of the page; `buttons` are (name, value) of those that send it."""

    id: str
    action: str
    method: str
    fields: dict[str, Field] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def hidden(self) -> dict[str, str]:
        return {one.name: one.value for one in self.fields.values() if one.kind == "hidden"}

    def open(self) -> list[Field]:
        """What a person is asked."""
        return [one for one in self.fields.values() if one.kind != "hidden"]


@dataclass
class Page:
    """A page as it was read; `address` is where it was found, after redirects."""

    address: str
    forms: list[Form] = field(default_factory=list)
    loose: dict[str, Field] = field(default_factory=dict)  # controls outside of forms, by id
    json: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)  # text of elements that have an id
    heading: str = ""

    @classmethod
    def read(cls, html: str, address: str) -> "Page":
        reader = _Reader(address)
        reader.feed(html)
        reader.close()
        return reader.page

    @property
    def trial(self) -> dict[str, Any] | None:
        """What the page's script is told of its trial; None on every other page."""
        return self.json.get("trial")

    @property
    def csrf(self) -> str:
        token = self.loose.get("csrfmiddlewaretoken")
        return token.value if token else next(form.hidden()["csrfmiddlewaretoken"] for form in self.posts())

    def form(self, name: str) -> Form | None:
        return next((form for form in self.forms if form.id == name), None)

    def posts(self) -> list[Form]:
        """Forms that are sent to the study, not those of the frame (language, sign-out)."""
        apart = ("/i18n/", "/logout/")
        return [form for form in self.forms if form.method == "post" and not form.action.startswith(apart)]


class _Reader(HTMLParser):
    def __init__(self, address: str) -> None:
        super().__init__()
        self.page = Page(address)
        self.form: Form | None = None
        self.script: str | None = None
        self.inside: list[tuple[str, str]] = []  # (tag, id) of elements whose text is kept

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "form":
            self.form = Form(given.get("id", ""), given.get("action", ""), given.get("method", "get").lower())
            self.page.forms.append(self.form)
        elif tag == "script" and given.get("type") == "application/json":
            self.script = given["id"]
        elif tag in ("input", "select", "textarea"):
            self._control(tag, given)
        elif tag == "option" and self.form and self.form.fields:
            list(self.form.fields.values())[-1].options.append(given.get("value", ""))
        elif tag == "button" and self.form and given.get("type", "submit") == "submit":
            self.form.buttons.append((given.get("name", ""), given.get("value", "")))
        elif tag == "a" and self.form:
            self.form.links.append(given.get("href", ""))
        if tag == "h1" or (given.get("id") and tag not in ("input", "script", "form")):
            self.inside.append((tag, given.get("id") or "h1"))

    def _control(self, tag: str, given: dict[str, str]) -> None:
        kind = given.get("type", "text") if tag == "input" else tag
        name = given.get("name", "")
        if kind in ("submit", "button"):
            return
        data = {key[5:]: value for key, value in given.items() if key.startswith("data-")}
        made = Field(
            name, kind, given.get("value", ""), data.get("type", "text"), "data-optional" in given or False, data=data
        )
        if self.form is None:
            self.page.loose[given.get("id") or name] = made
            return
        if not name:
            return
        known = self.form.fields.setdefault(name, made)
        if kind == "radio":
            known.options.append(made.value)
        if "required" not in given and not data:
            known.optional = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.form = None
        if tag == "script":
            self.script = None
        for place in range(len(self.inside) - 1, -1, -1):
            if self.inside[place][0] == tag:
                del self.inside[place:]
                break

    def handle_data(self, text: str) -> None:
        if self.script is not None:
            self.page.json[self.script] = json.loads(text)
        for tag, name in self.inside:
            if tag == "h1":
                self.page.heading += text
            self.page.texts[name] = self.page.texts.get(name, "") + text


def typed(one: Field, raw: str) -> Any:
    """A raw value as the page's script would send it, by `data-type`."""
    readers: dict[str, Any] = {"bool": lambda text: text in ("yes", "on", "true"), "int": int, "float": float}
    return readers.get(one.typed, str)(raw)


def payload_of(form: Form, values: dict[str, str]) -> Any:
    """Values by name → the answer as it is sent: dots are paths, whole numbers make lists; constants come along."""
    root: dict[str, Any] = {}
    for name, one in form.fields.items():
        raw = one.value if one.kind == "hidden" else values.get(name)
        if raw is None or name == "csrfmiddlewaretoken":
            continue
        *path, last = name.split(".")
        place = root
        for part in path:
            place = place.setdefault(part, {})
        place[last] = typed(one, raw)
    return _lists(root)


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(item) for key, item in value.items()}
    if inner and all(key.isdigit() for key in inner):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner
