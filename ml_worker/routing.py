"""The policy that turns a batch's scores into what volunteers see next.

Subjects at or above the cut are shown, the likeliest first. Below it they are held, except a random control sample,
which goes among the shown ones in their own proportions, so that its place in the queue tells nobody what it is and
the completeness below the cut can be measured. A subject without a score (an unreadable stamp) is left as it was.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from classify.models import DEFAULT_BUCKET
from classify.services import Route, route_subjects
from ml_worker.models import Prediction, PrefilterBatch

FIRST_BUCKET = DEFAULT_BUCKET + 1
LAST_BUCKET = 99
BUCKETS = LAST_BUCKET - FIRST_BUCKET + 1


def bucket_of(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bucket of each shown subject: 51 + ⌊49 s⌋, at most 99.

    The bucket depends on the score alone, never on its batch: subjects of different batches queue in one order, and
    all of them before subjects that no model has scored (bucket 50).

    Parameters
    ----------
    scores : float array, shape (n,)
        Calibrated scores in [0, 1].

    Returns
    -------
    int array, shape (n,)
    """
    return np.minimum(FIRST_BUCKET + np.floor(scores * BUCKETS).astype(np.int64), LAST_BUCKET)


def cut_for_fraction(scores: NDArray[np.float64], fraction: float) -> float:
    """The highest cut that lets at least this fraction of the scores through; ties at the cut all pass.

    Parameters
    ----------
    scores : float array, shape (n,)
        In any order; may be empty.
    fraction : float
        In [0, 1]. With 0, or without scores, nothing has to pass and the cut is 1.

    Returns
    -------
    float
        s_(k), the k-th highest score, k = ⌈fraction · n⌉.
    """
    k = math.ceil(fraction * len(scores) - 1e-9)  # 0.07 * 100 is a hair above 7 in binary
    return float(np.sort(scores)[-k]) if k > 0 else 1.0


def uniforms(seed: int, subject_id: int) -> tuple[float, float]:
    """Two numbers in [0, 1) that depend on seed and subject alone: no other subject's fate changes this one's."""
    digest = hashlib.blake2b(f"{seed}:{subject_id}".encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "big") / 2**64, int.from_bytes(digest[8:], "big") / 2**64


def routes(
    subject_ids: Sequence[int], scores: NDArray[np.float64], *, show_above: float, control_fraction: float, seed: int
) -> Iterator[Route]:
    """One route per subject, in the order given: shown by score, control among the shown, or held."""
    buckets = bucket_of(scores)
    is_shown = scores >= show_above
    # Sorted, so that a control's draw picks the same bucket in whatever order the subjects came.
    shown_buckets = np.sort(buckets[is_shown])
    for subject_id, bucket, shown in zip(subject_ids, buckets.tolist(), is_shown.tolist(), strict=True):
        draw, place = uniforms(seed, subject_id)
        if shown:
            yield Route(subject_id=subject_id, bucket=bucket, is_held=False, is_control=False)
        elif draw < control_fraction:
            among = shown_buckets[int(place * len(shown_buckets))] if len(shown_buckets) else FIRST_BUCKET
            yield Route(subject_id=subject_id, bucket=int(among), is_held=False, is_control=True)
        else:
            yield Route(subject_id=subject_id, bucket=DEFAULT_BUCKET, is_held=True, is_control=False)


def route_batch(*, batch: PrefilterBatch) -> tuple[float, dict[str, int]]:
    """Hand the batch's routes to the selection; the cut that was applied, and how many went where.

    Called with the batch row locked. Reads the model's predictions of the batch's shards, writes through
    classify.services.route_subjects. Running it again gives the same routes.
    """
    ids, scores = _scores_of(batch)
    cut = batch.show_above if batch.show_fraction is None else cut_for_fraction(scores, batch.show_fraction)
    if cut is None:
        raise ValueError(f"{batch} has neither show_above nor show_fraction")
    counts = {"shown": 0, "held": 0, "control": 0}

    def counted() -> Iterator[Route]:
        fraction = batch.control_fraction
        for route in routes(ids, scores, show_above=cut, control_fraction=fraction, seed=batch.seed):
            counts["control" if route.is_control else "held" if route.is_held else "shown"] += 1
            yield route

    route_subjects(workflow=batch.workflow, routes=counted())
    n_subjects = sum(batch.shards.values_list("n_subjects", flat=True))
    return cut, counts | {"left_alone": max(0, n_subjects - len(ids))}


def _scores_of(batch: PrefilterBatch) -> tuple[list[int], NDArray[np.float64]]:
    ends = batch.shards.order_by("index")
    first, last = ends.first(), ends.last()
    if first is None or last is None:
        return [], np.empty(0)
    rows = (
        Prediction.objects.filter(
            model_id=batch.model_id,
            subject__subject_set_id=batch.subject_set_id,
            subject__id__range=(first.first_subject_id, last.last_subject_id),
        )
        .order_by("subject_id")
        .values_list("subject_id", "score")
    )
    pairs = list(rows.iterator(chunk_size=10_000))
    return [subject_id for subject_id, _ in pairs], np.array([score for _, score in pairs], dtype=np.float64)
