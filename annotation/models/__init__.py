"""The rows of studies, people and their answers."""

from annotation.models.answers import Answer, AnswerRevision, Draft, DrawnMap, Judgement
from annotation.models.assignments import Assignment
from annotation.models.participants import Participant
from annotation.models.studies import Arm, Stimulus, Study, StudyVersion, Trial

__all__ = [
    "Answer",
    "AnswerRevision",
    "Arm",
    "Assignment",
    "Draft",
    "DrawnMap",
    "Judgement",
    "Participant",
    "Stimulus",
    "Study",
    "StudyVersion",
    "Trial",
]
