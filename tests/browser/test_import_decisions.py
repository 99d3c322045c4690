"""A file of decisions at a browser: sent, looked at, read otherwise, imported; by labels that stand on the page."""

from django.urls import reverse

from annotation.models import Study
from tests.annotation.factories import researcher

TABLE = """who,picture,way,ai_label,truth,accepted
Ann,a.png,maps,Monarch,Monarch,yes
Ann,b.png,maps,Zebra,Monarch,yes
Bob,a.png,none,Monarch,Monarch,no
Bob,b.png,none,Zebra,Monarch,no
"""


def test_a_file_is_sent_looked_at_read_otherwise_and_imported(person):
    owner = researcher()
    one = person()
    one.known_as(owner)
    page = one.open(reverse("admin:annotation_study_decisions"))
    page.get_by_label("CSV file").set_input_files(
        {"name": "ours.csv", "mimeType": "text/csv", "buffer": TABLE.encode()}
    )
    page.get_by_role("button", name="Look at it").click()
    page.get_by_role("alert").get_by_text("Say which column holds the person.").wait_for()
    assert page.get_by_role("button", name="Import as a study").is_disabled()

    page.get_by_label("Person", exact=True).select_option("who")
    page.get_by_label("Method or condition", exact=True).select_option("way")
    page.get_by_role("button", name="Read it so").click()
    page.get_by_role("heading", name="What comes in").wait_for()
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="maps", exact=True))
    assert row.get_by_role("cell").all_inner_texts() == [
        "1", "2", "2", "100.0 %", "50.00 %", "100.00 % of 1", "0.00 % of 1",
    ]  # fmt: skip
    assert not Study.objects.exists()

    page.get_by_label("Name of the study").fill("Ours")
    page.get_by_role("button", name="Import as a study").click()
    page.get_by_text("4 answers of 2 people to 4 trials added").wait_for()
    page.get_by_text("These figures are of imported").wait_for()
    assert Study.objects.get().name == "Ours"
