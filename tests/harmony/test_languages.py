"""German is complete: the catalogue against the sources, and every page that an annotator can meet against both."""

import re
import shutil
import subprocess
from typing import Any

import pytest
from django.utils import translation

from annotation.api.words import words
from annotation.errors import AnswerConflict, StudyClosed, TrialTaken
from annotation.pages.ends import ENDS
from annotation.studies import KINDS
from annotation.texts import texts_of
from tests.annotation import factories as make
from tests.harmony.catalogue import FOLDER, ROOT, Message, read_mo, read_po, sources
from tests.harmony.german import catalogue, foreign, is_german

HEADER = Message("")
PLACEHOLDER = re.compile(r"%%|%\(\w+\)[sd]|%[sd]|\{\w+\}|</?\w+>")


# --- the catalogue ---------------------------------------------------------------------------------------------------


def test_every_sentence_of_the_sources_is_translated_and_no_other() -> None:
    found = sources()
    assert len(found) > 350, "the scan reads templates and modules"
    assert Message("Y", context="key for yes") in found
    assert any(message.plural for message in found)
    assert found - set(catalogue()) == set(), "run make messages and translate these"
    assert set(catalogue()) - found == set(), "nobody says these any more: run make messages"


def test_nothing_is_empty_or_a_guess() -> None:
    messages, flags = read_po(FOLDER / "django.po")
    assert "fuzzy" not in flags
    for message, said in messages.items():
        assert all(text.strip() for text in said), message
        assert len(said) == (2 if message.plural else 1), message


def test_placeholders_are_the_same_on_both_sides() -> None:
    for message, said in catalogue().items():
        for source, text in zip((message.singular, message.plural), said, strict=False):
            assert sorted(PLACEHOLDER.findall(source)) == sorted(PLACEHOLDER.findall(text)), (source, text)
            assert (source[-1] in ".?") == (text[-1] in ".?"), (source, text)


def test_german_is_written_with_german_signs_and_words() -> None:
    for said in catalogue().values():
        for text in said:
            assert not re.search('[“”"]', re.sub("„[^„“]*“", "", text)), text
            assert not re.search(r"\b(?:du|dir|dich|dein\w*|ihr|euch|Link|Map|Trial|Task|Click\w*|Download)\b", text), (
                text
            )
    assert catalogue()[Message("Neither")] == ("Keine von beiden",)
    assert catalogue()[Message("Send and next")] == ("Senden und weiter",)
    assert "Aufmerksamkeitskarte" in str(catalogue())


def _without_date(messages: dict[Message, tuple[str, ...]]) -> dict[Message, tuple[str, ...]]:
    """When the sentences were collected stands in one of the forms only."""
    lines = [line for line in messages[HEADER][0].splitlines() if not line.startswith("POT-Creation-Date")]
    return messages | {HEADER: tuple(lines)}


def test_the_compiled_catalogue_is_the_written_one() -> None:
    written, _flags = read_po(FOLDER / "django.po")
    compiled = read_mo((FOLDER / "django.mo").read_bytes())
    assert _without_date(compiled) == _without_date(written), "run make messages"
    if (msgfmt := shutil.which("msgfmt")) is not None:
        made = subprocess.run([msgfmt, "-o", "-", FOLDER / "django.po"], check=True, capture_output=True).stdout
        assert _without_date(read_mo(made)) == _without_date(written)


def test_django_counts_in_german_with_this_catalogue() -> None:
    with translation.override("de"):
        assert translation.ngettext("about %d minute left", "about %d minutes left", 1) == "noch etwa %d Minute"
        assert translation.ngettext("about %d minute left", "about %d minutes left", 2) == "noch etwa %d Minuten"
        assert translation.pgettext("key for yes", "Y") == "J"


def test_the_words_of_the_scripts_are_there_and_german() -> None:
    with translation.override("de"):
        said = words()
    assert [text for text in said.values() if not is_german(text)] == []
    scripts = "".join(path.read_text() for path in (ROOT / "static" / "js").glob("*.js"))
    asked = set(re.findall(r"\b(?:trial|this)\.words\.(\w+)", scripts))
    assert len(asked) > 15
    assert asked <= set(said)


def test_ends_and_refusals_are_said_in_the_language_of_the_moment() -> None:
    """They are made when modules are imported, or in another language; what counts is when they are read."""
    refusals = [StudyClosed(), TrialTaken(), AnswerConflict(None)]
    english = [refusal.sentence for refusal in refusals]
    with translation.override("de"):
        assert refusals[1].sentence == "Diese Aufgabe hat schon jemand anderes beendet. Hier ist die nächste."
        for refusal, before in zip(refusals, english, strict=True):
            assert refusal.sentence != before
            assert is_german(refusal.sentence)
        for end in ENDS.values():
            assert is_german(str(end.heading))
            assert is_german(str(end.sentence))
    assert [refusal.sentence for refusal in refusals] == english


# --- what a study says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["reasonability", "map_drawing", "preference", "team"])
def test_standard_texts_of_a_kind_are_german_for_german_readers(name: str) -> None:
    kind = KINDS[name]
    with translation.override("de"):
        standard = [kind.task, *(field.default for field in kind.fields if field.kind == "text")]
        assert len(standard) > 1
        for text in standard:
            assert translation.gettext(text) != text
            assert is_german(translation.gettext(text).replace("{class}", "Monarch"))


@pytest.mark.django_db
def test_own_words_stay_and_own_translations_go_first() -> None:
    own = {"question_unnecessary": "Anything odd?", "question_quality": "How clear is it?"}
    study = make.ratings(1, settings=own, translations={"de": {"settings": {"question_quality": "Wie klar ist es?"}}})
    version = study.version
    german, english = texts_of(version, "de"), texts_of(version, "en")
    assert german.task == "Ansehen, wohin das Modell geschaut hat, und sagen, ob das vernünftig ist."
    assert german.settings["question_necessary"] == "Enthält der Fokus die nötigen Einzelheiten?"
    assert german.settings["question_unnecessary"] == "Anything odd?", "a researcher's own words are not guessed at"
    assert german.settings["question_quality"] == "Wie klar ist es?"
    assert english.task == KINDS["reasonability"].task
    assert english.settings["question_necessary"] == "Does the focus contain the necessary details?"
    assert english.settings["question_quality"] == "How clear is it?"
    assert german.settings.keys() == english.settings.keys() == version.settings.keys()
    assert version.settings["question_necessary"] == "Does the focus contain the necessary details?", "kept as it was"
    assert texts_of(version).task == KINDS["reasonability"].task, "another language was asked for by name only"


@pytest.mark.django_db
def test_a_task_of_ones_own_and_an_empty_one_stay() -> None:
    study = make.ratings(1, task="Look closely.")
    assert texts_of(study.version, "de").task == "Look closely."
    study.version.task = ""
    assert texts_of(study.version, "de").task == "", "not the catalogue's header"


@pytest.mark.django_db
def test_texts_ask_the_database_nothing(django_assert_num_queries: Any) -> None:
    version = make.ratings(1).version
    version.__class__.objects.get(pk=version.pk)
    fresh = version.__class__.objects.get(pk=version.pk)
    with django_assert_num_queries(0):
        texts_of(fresh, "de")


# --- the check itself ------------------------------------------------------------------------------------------------


def test_the_check_of_pages_finds_what_is_not_german() -> None:
    page = '<html lang="de"><p>{}</p><script id="words" type="application/json">{{"saved": "{}"}}</script></html>'
    assert foreign(page.format("Gespeichert", "Gespeichert")) == []
    assert foreign(page.format("3 von 12", "Gespeichert")) == []
    assert foreign(page.format("3 of 12", "Saved")) == ["3 of 12", "Saved"]
    assert foreign(page.format('<a title="Next">Weiter</a>', "Gespeichert")) == ["Next"]
    assert foreign(page.format("Weiter. Go on", "Gespeichert")) == ["Weiter. Go on"]
    assert foreign(page.format("§Titel · Zu meinen Studien", "Gespeichert")) == []
    assert foreign('<html lang="en">Weiter</html>') == ["lang='en'"]
