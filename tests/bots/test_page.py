"""The bots' own eyes: what they read from a page, and what they would send."""

from tests.bots.browser import encoded
from tests.bots.page import Page, payload_of

HTML = """
<form method="post" action="/i18n/setlang/"><button>English</button></form>
<h1>Maps &amp; more</h1>
<form id="answer-form">
  <input type="hidden" data-type="int" name="maps.0.position" value="0">
  <label><input type="radio" name="maps.0.good" value="yes" data-type="bool"></label>
  <label><input type="radio" name="maps.0.good" value="no" data-type="bool"></label>
  <input type="hidden" data-type="int" name="maps.1.position" value="1">
  <input type="range" name="maps.1.share" data-type="float" value="0.5">
  <textarea name="words" data-optional></textarea>
  <select name="which" data-type="choice"><option value="">–</option><option value="b">B</option></select>
</form>
<form method="post"><input type="hidden" name="csrfmiddlewaretoken" value="tok">
  <input name="age" required><a href="?page=2">Next</a>
  <button type="submit" name="consent" value="yes">I agree</button></form>
<p id="code">DONE-1</p>
<script id="trial" type="application/json">{"phase": "main", "text": "\\u003Cb\\u003E"}</script>
"""


def test_a_page_is_read_whole():
    page = Page.read(HTML, "/studies/x/?page=1")
    form = page.form("answer-form")
    assert [(one.name, one.kind, one.typed, one.optional) for one in form.open()] == [
        ("maps.0.good", "radio", "bool", False), ("maps.1.share", "range", "float", False),
        ("words", "textarea", "text", True), ("which", "select", "choice", False),
    ]  # fmt: skip
    assert form.fields["maps.0.good"].options == ["yes", "no"]
    assert form.fields["which"].options == ["", "b"]
    sent = page.posts()
    assert [(one.buttons, one.links) for one in sent] == [([("consent", "yes")], ["?page=2"])]
    assert (page.csrf, page.heading, page.texts["code"]) == ("tok", "Maps & more", "DONE-1")
    assert page.trial == {"phase": "main", "text": "<b>"}


def test_values_become_the_payload_that_the_page_would_send():
    form = Page.read(HTML, "/").form("answer-form")
    values = {"maps.0.good": "no", "maps.1.share": "0.25", "which": "b"}
    assert payload_of(form, values) == {
        "maps": [{"position": 0, "good": False}, {"position": 1, "share": 0.25}], "which": "b",
    }  # fmt: skip


def test_parts_are_encoded_as_a_browser_does():
    body, kind = encoded({"payload": {"a": [1]}, "left": None, "n": 3}, b"\x89PNG")
    edge = kind.partition("boundary=")[2]
    parts = body.decode("latin-1").split(f"--{edge}")
    assert [part.partition("\r\n\r\n")[2].strip() for part in parts[1:-1]] == ['{"a": [1]}', "3", "\x89PNG"]
    assert parts[-1] == "--\r\n"
