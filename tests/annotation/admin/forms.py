"""A page's form as a browser would send it: read from the HTML alone."""

from html.parser import HTMLParser


class Form(HTMLParser):
    """The controls of the form with this id (or of the first one that has a control called `having`)."""

    def __init__(self, page: str, *, having: str) -> None:
        super().__init__()
        self.found: list[list[tuple[str, str]]] = []
        self._controls: list[tuple[str, str]] | None = None
        self._text: list[str] | None = None
        self._name = ""
        self._select: tuple[str, list[tuple[str, bool]]] | None = None
        self._option = False
        self.feed(page)
        self.controls = next(form for form in self.found if any(name == having for name, _ in form))

    @property
    def data(self) -> dict[str, list[str]]:
        sent: dict[str, list[str]] = {}
        for name, value in self.controls:
            sent.setdefault(name, []).append(value)
        return sent

    def handle_starttag(self, tag, attrs):
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._controls = []
            return
        if self._controls is None or "disabled" in values:
            return
        name = values.get("name", "")
        if tag == "input" and name:
            kind = values.get("type", "text")
            ticked = kind not in ("radio", "checkbox") or "checked" in values
            if ticked and kind not in ("file", "submit", "button"):
                self._controls.append((name, values.get("value", "")))
        elif tag == "textarea" and name:
            self._name, self._text = name, []
        elif tag == "select" and name:
            self._select = (name, [])
        elif tag == "option" and self._select is not None:
            self._select[1].append((values.get("value", ""), "selected" in values))

    def handle_data(self, data):
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag):
        if tag == "form" and self._controls is not None:
            self.found.append(self._controls)
            self._controls = None
        elif tag == "textarea" and self._text is not None and self._controls is not None:
            self._controls.append((self._name, "".join(self._text).removeprefix("\n")))
            self._text = None
        elif tag == "select" and self._select is not None and self._controls is not None:
            name, options = self._select
            chosen = [value for value, selected in options if selected] or [options[0][0]]
            self._controls.append((name, chosen[-1]))
            self._select = None


def form_of(response, having: str = "kind") -> dict[str, list[str]]:
    return Form(response.content.decode(), having=having).data
