"""Convolutional Hough matching (Min & Cho, CVPR 2021): which point of one picture corresponds to a point of another.

Written after definitions §6. The network reads one stage of a classifier, which stays as it is.
"""

from mlcore.correspondence.chm.network import CHMNetwork
from mlcore.correspondence.chm.stage import default_stage
from mlcore.correspondence.chm.transfer import transfer

__all__ = ["CHMNetwork", "default_stage", "transfer"]
