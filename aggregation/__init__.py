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
from aggregation.calibration import CALIBRATIONS, Calibrated, CalibrationMap, cross_calibrated, fit_calibration
from aggregation.dawid_skene import DawidSkene, dawid_skene, one_coin
from aggregation.diagnostics import Diagnostics, Estimate, bootstrap_interval, diagnose
from aggregation.grades import (
    LENS_ESCAPE,
    LENS_LEVELS,
    GradeDistribution,
    grade_distribution,
    grades_from_counts,
)
from aggregation.majority import Majority, majority
from aggregation.metrics import (
    CompletenessCurve,
    Reliability,
    accuracy,
    auc,
    balanced_accuracy,
    brier,
    completeness_at_false_positive_rate,
    completeness_curve,
    confusion_counts,
    expected_calibration_error,
    log_loss,
    reliability,
)
from aggregation.plots import figure_svg, plot_completeness, plot_confusion, plot_reliability
from aggregation.swap import RunningSwap, Swap, swap
from aggregation.swap_em import SwapEM, swap_em
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
    "CALIBRATIONS",
    "DEFAULT_METHOD",
    "LENS_ESCAPE",
    "LENS_LEVELS",
    "METHODS",
    "BoxClusters",
    "Calibrated",
    "CalibrationMap",
    "CompletenessCurve",
    "ConsensusBoxes",
    "DawidSkene",
    "Diagnostics",
    "Estimate",
    "GradeDistribution",
    "Majority",
    "Reliability",
    "RunningBoxes",
    "RunningSwap",
    "RunningTally",
    "Swap",
    "SwapEM",
    "Tally",
    "TaskConfusion",
    "TaskConsensus",
    "WeightedVotes",
    "accuracy",
    "aggregate_tasks",
    "auc",
    "balanced_accuracy",
    "bootstrap_interval",
    "box_iou",
    "brier",
    "cluster_boxes",
    "completeness_at_false_positive_rate",
    "completeness_curve",
    "confusion_counts",
    "consensus_boxes",
    "cross_calibrated",
    "dawid_skene",
    "diagnose",
    "expected_calibration_error",
    "figure_svg",
    "fit_calibration",
    "grade_distribution",
    "grades_from_counts",
    "last_votes",
    "log_loss",
    "majority",
    "one_coin",
    "plot_completeness",
    "plot_confusion",
    "plot_reliability",
    "reach_probability",
    "reliability",
    "swap",
    "swap_em",
    "tally_from_counts",
    "tally_votes",
    "weighted_votes",
    "wilson_interval",
]
