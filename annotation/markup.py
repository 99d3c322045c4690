"""Researchers' texts: Markdown to HTML that is safe to show. HTML in the text is shown as text, never run."""

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

PICTURE = "picture:"


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    # Without "html" every tag in the text is escaped, and links of other schemes than the web's stay text.
    return MarkdownIt("commonmark", {"html": False}).enable("table").enable("strikethrough")


def is_web_address(address: str) -> bool:
    """Whether a link may lead there: http or https with a host."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def render(text: str, pictures: Mapping[str, str] | None = None) -> SafeString:
    """HTML of a Markdown text.

    `![what one sees](picture:name)` shows the study's picture `name`; `pictures` maps names to addresses. Pictures
    from elsewhere are left out: their description stands in their place. Links open in a page of their own.
    """
    parser = _parser()
    tokens = parser.parse(text)
    for token in tokens:
        if token.children:
            token.children = [_checked(child, pictures or {}) for child in token.children]
    return mark_safe(parser.renderer.render(tokens, parser.options, {}))  # noqa: S308  html is off, links are checked


def _checked(token: Token, pictures: Mapping[str, str]) -> Token:
    if token.type == "image":
        source = str(token.attrGet("src") or "")
        address = pictures.get(source[len(PICTURE) :]) if source.startswith(PICTURE) else None
        if address is None:
            return Token("text", "", 0, content=token.content)
        token.attrSet("src", address)
        token.attrSet("loading", "lazy")
    elif token.type == "link_open":
        if not is_web_address(str(token.attrGet("href") or "")):
            token.attrs.pop("href", None)
        token.attrSet("rel", "noreferrer noopener")
        token.attrSet("target", "_blank")
    return token
