"""Consensus of volunteers: votes, grades and boxes. numpy and scipy only; no Django, no database.

Functions take integer codes counted from 0, one row per vote (COO form), and return frozen dataclasses.
``python -m aggregation`` does the same for tables.
"""

from aggregation._box_fit import BoxModel
from aggregation._debias_curves import AnswerCurve
from aggregation._geometry import box_iou, point_boxes
from aggregation._pooled_rounds import (
    MISLEADING,
    PooledPosteriors,
    PooledRound,
    report_from_bytes,
    round_from_bytes,
    to_bytes,
)
from aggregation.agreement import KappaReport, kappa_report, mean_absolute_level_error, quadratic_weighted_kappa
from aggregation.box_plots import DrawnMarks, boxes_size, plot_boxes
from aggregation.box_results import SETTLED, BoxSubjects, BoxVolunteers, ConsensusBoxes, settled_subjects
from aggregation.box_running import RunningBoxes, SubjectBoxes
from aggregation.box_votes import BoxClusters, cluster_boxes
from aggregation.boxes import consensus_boxes
from aggregation.calibration import CALIBRATIONS, Calibrated, CalibrationMap, cross_calibrated, fit_calibration
from aggregation.dawid_skene import DawidSkene, dawid_skene, one_coin
from aggregation.debias import DEBIAS_STATUS, CumulativeDebiased, RatioDebiased, debias_cumulative, debias_ratio
from aggregation.decisions import (
    BayesRisk,
    bayes_risk,
    expected_information_gain,
    expected_risk_reduction,
    lens_loss,
    vote_worth,
    zero_one_loss,
)
from aggregation.diagnostics import Diagnostics, Estimate, bootstrap_interval, diagnose
from aggregation.grades import (
    LENS_ESCAPE,
    LENS_LEVELS,
    GradeDistribution,
    grade_distribution,
    grades_from_counts,
)
from aggregation.intervals import beta_interval, wilson_interval
from aggregation.juror import MachineEvidence, combine_machines, held_out_scores, machine_evidence, score_bins
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
from aggregation.ordinal import OrdinalGrades, RunningOrdinalGrades, ordinal_grades
from aggregation.plots import figure_svg, plot_completeness, plot_confusion, plot_reliability
from aggregation.pooled import PooledDawidSkene, pooled_dawid_skene
from aggregation.retirement import Retirement, RetirementRule, Verdict, retire, risk_limit
from aggregation.running import (
    Running,
    RunningDawidSkene,
    RunningMajority,
    RunningOneCoin,
    RunningPooled,
    RunningSwapEM,
    RunningWeighted,
)
from aggregation.sharded import PooledFit, PooledShard, ShardedPooled, shard_of
from aggregation.swap import RunningSwap, Swap, swap
from aggregation.swap_em import SwapEM, swap_em
from aggregation.tallies import (
    RunningTally,
    Tally,
    last_votes,
    reach_probability,
    tally_from_counts,
    tally_votes,
)
from aggregation.tasks import (
    DEFAULT_METHOD,
    METHODS,
    TaskConfusion,
    TaskConsensus,
    aggregate_tasks,
)
from aggregation.tree import PooledTree, pooled_tree
from aggregation.weighted import WeightedVotes, weighted_votes

__all__ = [
    "CALIBRATIONS",
    "DEBIAS_STATUS",
    "DEFAULT_METHOD",
    "LENS_ESCAPE",
    "LENS_LEVELS",
    "METHODS",
    "MISLEADING",
    "SETTLED",
    "AnswerCurve",
    "BayesRisk",
    "BoxClusters",
    "BoxModel",
    "BoxSubjects",
    "BoxVolunteers",
    "Calibrated",
    "CalibrationMap",
    "CompletenessCurve",
    "ConsensusBoxes",
    "CumulativeDebiased",
    "DawidSkene",
    "Diagnostics",
    "DrawnMarks",
    "Estimate",
    "GradeDistribution",
    "KappaReport",
    "MachineEvidence",
    "Majority",
    "OrdinalGrades",
    "PooledDawidSkene",
    "PooledFit",
    "PooledPosteriors",
    "PooledRound",
    "PooledShard",
    "PooledTree",
    "RatioDebiased",
    "Reliability",
    "Retirement",
    "RetirementRule",
    "Running",
    "RunningBoxes",
    "RunningDawidSkene",
    "RunningMajority",
    "RunningOneCoin",
    "RunningOrdinalGrades",
    "RunningPooled",
    "RunningSwap",
    "RunningSwapEM",
    "RunningTally",
    "RunningWeighted",
    "ShardedPooled",
    "SubjectBoxes",
    "Swap",
    "SwapEM",
    "Tally",
    "TaskConfusion",
    "TaskConsensus",
    "Verdict",
    "WeightedVotes",
    "accuracy",
    "aggregate_tasks",
    "auc",
    "balanced_accuracy",
    "bayes_risk",
    "beta_interval",
    "bootstrap_interval",
    "box_iou",
    "boxes_size",
    "brier",
    "cluster_boxes",
    "combine_machines",
    "completeness_at_false_positive_rate",
    "completeness_curve",
    "confusion_counts",
    "consensus_boxes",
    "cross_calibrated",
    "dawid_skene",
    "debias_cumulative",
    "debias_ratio",
    "diagnose",
    "expected_calibration_error",
    "expected_information_gain",
    "expected_risk_reduction",
    "figure_svg",
    "fit_calibration",
    "grade_distribution",
    "grades_from_counts",
    "held_out_scores",
    "kappa_report",
    "last_votes",
    "lens_loss",
    "log_loss",
    "machine_evidence",
    "majority",
    "mean_absolute_level_error",
    "one_coin",
    "ordinal_grades",
    "plot_boxes",
    "plot_completeness",
    "plot_confusion",
    "plot_reliability",
    "point_boxes",
    "pooled_dawid_skene",
    "pooled_tree",
    "quadratic_weighted_kappa",
    "reach_probability",
    "reliability",
    "report_from_bytes",
    "retire",
    "risk_limit",
    "round_from_bytes",
    "score_bins",
    "settled_subjects",
    "shard_of",
    "swap",
    "swap_em",
    "tally_from_counts",
    "tally_votes",
    "to_bytes",
    "vote_worth",
    "weighted_votes",
    "wilson_interval",
    "zero_one_loss",
]
