"""Sentences that the browser says by itself, in the person's language; the pages carry them as JSON."""

from django.utils.translation import gettext as _
from django.utils.translation import ngettext


def words() -> dict[str, str]:
    """Keys are what the modules in static/js ask for."""
    return {
        "saved": _("Saved"),
        "sending": _("Sending …"),
        "unsent": _("Not sent yet"),
        "notSent": _("Not sent"),
        "onDevice": _("On this device"),
        "restored": _("Your unfinished work is back. Go on where you stopped."),
        "offline": _("No connection. Your answer is kept on this device and will be sent."),
        "trouble": _("The server does not answer well. Your answer is kept on this device and will be sent."),
        "again": _("Try now"),
        "reload": _("Load again"),
        "signedOut": _("You are signed out. Your answer is kept on this device and will be sent when you sign in."),
        "signIn": _("Sign in"),
        "refused": _("This answer could not be taken. Please look at it once more."),
        "conflict": _("You answered this one in another window. That answer is shown and kept."),
        "useMine": _("Use mine instead"),
        "goOn": _("Go on"),
        "noPicture": _("The picture did not arrive. Look at your connection, then load again."),
        "oldBrowser": _("This browser is too old to draw in. Please use a current Chrome, Edge, Firefox or Safari."),
        "missing": _("One question is still open."),
        "missingMap": _("Map %s has an open question."),
        "nothingPainted": _("Nothing is painted yet. Paint, or tick “I see nothing to mark”."),
        "hintOutline": _("Set corners around it. Back at the first one, the outline closes."),
        "hintFill": _("Press inside something that is painted all around."),
        "outlineShort": _("An outline needs three corners."),
        "outlineOpen": _("Your outline is still open. Close it at its first corner, or drop it with Escape."),
        "fillOpen": _("This is not closed all around. Close the gap, then fill."),
        "fillPainted": _("This is painted already. Press inside it, where nothing is painted yet."),
        "fillNotPainted": _("Nothing is painted here that could be taken away."),
        "leaveUnsent": _("An answer on this device has not been sent yet. Sign out and lose it?"),
        "taken": _("Someone else has finished this one. Here is the next."),
        "sentLater": _("Your kept answer has been sent."),
        "refusedLater": _("A kept answer could not be taken as it is. Open its study to look at it."),
        "next": _("Next"),
    }


def time_left(seconds: float | None) -> str:
    """A duration as a person would say it; empty where it is not known or nothing is left."""
    if not seconds or seconds <= 0:
        return ""
    if seconds < 90:
        return _("about a minute left")
    minutes = round(seconds / 60)
    if minutes < 60:
        return ngettext("about %d minute left", "about %d minutes left", minutes) % minutes
    hours = round(minutes / 60)
    return ngettext("about %d hour left", "about %d hours left", hours) % hours
