"""The rows of studies, people and their answers."""

from annotation.models.analyses import AnalysisFigure, StudyAnalysis
from annotation.models.answers import Answer, AnswerRevision, Draft, DrawnMap, Judgement
from annotation.models.assignments import Assignment
from annotation.models.participants import ExitAnswers, Invitation, Participant
from annotation.models.studies import (
    Arm,
    ListEntry,
    Stimulus,
    Study,
    StudyPicture,
    StudyVersion,
    Trial,
    TrialList,
)

__all__ = [
    "AnalysisFigure",
    "Answer",
    "AnswerRevision",
    "Arm",
    "Assignment",
    "Draft",
    "DrawnMap",
    "ExitAnswers",
    "Invitation",
    "Judgement",
    "ListEntry",
    "Participant",
    "Stimulus",
    "Study",
    "StudyAnalysis",
    "StudyPicture",
    "StudyVersion",
    "Trial",
    "TrialList",
]
