"""The rows of images and classifiers. Everything that is exported carries a UUID as its natural key."""

from mlcore.models.attention import AttentionModule
from mlcore.models.audit import AuditEntry
from mlcore.models.classifiers import Classifier
from mlcore.models.correspondence import CorrespondenceNetwork, FeatureGallery
from mlcore.models.explanations import Explanation, ExplanationSet
from mlcore.models.human_maps import HumanMap, HumanMapSet
from mlcore.models.images import Box, Image, ImageLabel, ImageSet, Mask
from mlcore.models.inquiries import Inquiry
from mlcore.models.pairs import AttributionPair, PairSet
from mlcore.models.partitions import Partition, PartitionMember
from mlcore.models.runs import Prediction, Run, RunMetric, Score
from mlcore.models.supervision import SupervisionItem, SupervisionSet
from mlcore.models.workers import Worker

__all__ = [
    "AttentionModule",
    "AttributionPair",
    "AuditEntry",
    "Box",
    "Classifier",
    "CorrespondenceNetwork",
    "Explanation",
    "ExplanationSet",
    "FeatureGallery",
    "HumanMap",
    "HumanMapSet",
    "Image",
    "ImageLabel",
    "ImageSet",
    "Inquiry",
    "Mask",
    "PairSet",
    "Partition",
    "PartitionMember",
    "Prediction",
    "Run",
    "RunMetric",
    "Score",
    "SupervisionItem",
    "SupervisionSet",
    "Worker",
]
