"""The browser's colours are the server's, those that are computed too."""

from mlcore.exchange.colormaps import COLORMAPS
from tests.annotation.factories import annotator


def test_every_colour_map_is_the_servers(person):
    someone = person()
    someone.known_as(annotator())
    page = someone.open("/")
    for name, table in COLORMAPS.items():
        colours = page.evaluate(f"async () => Array.from((await import('/static/js/colormaps.js')).{name})")
        assert colours == table.reshape(-1).tolist(), name
