"""Consensus of volunteers: votes, grades and boxes. numpy and scipy only; no Django, no database.

Functions take integer codes counted from 0, one row per vote (COO form), and return frozen dataclasses.
``python -m aggregation`` does the same for tables.
"""

from aggregation._geometry import box_iou
from aggregation.boxes import (
    BoxClusters,
    ConsensusBoxes,
    RunningBoxes,
    cluster_boxes,
    consensus_boxes,
)
from aggregation.dawid_skene import DawidSkene, dawid_skene, one_coin
from aggregation.grades import (
    LENS_ESCAPE,
    LENS_LEVELS,
    GradeDistribution,
    grade_distribution,
    grades_from_counts,
)
from aggregation.majority import Majority, majority
from aggregation.metrics import (
    Reliability,
    accuracy,
    auc,
    brier,
    expected_calibration_error,
    log_loss,
    reliability,
)
from aggregation.tallies import (
    RunningTally,
    Tally,
    last_votes,
    reach_probability,
    tally_from_counts,
    tally_votes,
    wilson_interval,
)
from aggregation.tasks import (
    DEFAULT_METHOD,
    METHODS,
    TaskConfusion,
    TaskConsensus,
    aggregate_tasks,
)
from aggregation.weighted import WeightedVotes, weighted_votes

__all__ = [
    "DEFAULT_METHOD",
    "LENS_ESCAPE",
    "LENS_LEVELS",
    "METHODS",
    "BoxClusters",
    "ConsensusBoxes",
    "DawidSkene",
    "GradeDistribution",
    "Majority",
    "Reliability",
    "RunningBoxes",
    "RunningTally",
    "Tally",
    "TaskConfusion",
    "TaskConsensus",
    "WeightedVotes",
    "accuracy",
    "aggregate_tasks",
    "auc",
    "box_iou",
    "brier",
    "cluster_boxes",
    "consensus_boxes",
    "dawid_skene",
    "expected_calibration_error",
    "grade_distribution",
    "grades_from_counts",
    "last_votes",
    "log_loss",
    "majority",
    "one_coin",
    "reach_probability",
    "reliability",
    "tally_from_counts",
    "tally_votes",
    "weighted_votes",
    "wilson_interval",
]
