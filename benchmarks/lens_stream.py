"""A stream of votes in which lenses are rare: what SWAP and the product EM find, and what a vote costs."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import aggregation
from benchmarks.crowd import LensStream, simulate_lenses
from benchmarks.figures import Figure, cpu_seconds

SUBJECTS = 100_000
SEED = 20261122
ADDED = 300_000  # votes, one by one
REJECTION = 1e-7  # the published threshold below which a subject is retired


def measure_lens_stream(tiny: bool) -> Iterator[Figure]:
    stream = simulate_lenses(4_000 if tiny else SUBJECTS, SEED)
    votes = (stream.subject, stream.volunteer, stream.answer, stream.gold)
    yield Figure("lenses, votes", len(stream.subject), "votes")
    fractions = aggregation.tally_votes(stream.subject, stream.answer, 2, n_subjects=len(stream.truth)).fractions
    published = aggregation.swap(*votes, learn_from="gold").posterior
    least = _completeness(published, stream)
    yield from _score("vote fraction", fractions, stream)
    yield from _score("published SWAP", published, stream)
    yield from _score("SWAP", aggregation.swap(*votes).posterior, stream, auc=0.995, completeness=least)
    fitted = aggregation.swap_em(*votes).posterior
    yield from _score("product EM", fitted, stream, auc=0.995, completeness=least)
    yield from _interval("product EM", fitted, stream)
    yield from _cost(stream)


def _score(
    name: str,
    posterior: NDArray[np.float64],
    stream: LensStream,
    auc: float | None = None,
    completeness: float | None = None,
) -> Iterator[Figure]:
    """How well the test subjects are told apart."""
    test = stream.gold < 0
    p, truth = posterior[test], stream.truth[test]
    yield Figure(f"lenses, {name}, AUC", aggregation.auc(p[:, 1], truth), "", at_least=auc)
    yield Figure(
        f"lenses, {name}, completeness at FPR 0.001",
        _completeness(posterior, stream),
        "of the lenses",
        at_least=completeness,
    )
    yield Figure(f"lenses, {name}, log loss", aggregation.log_loss(p, truth), "nats")
    lost = float((p[truth == 1, 1] < REJECTION).mean())
    yield Figure(f"lenses, {name}, rejected", lost, "of the lenses")


def _completeness(posterior: NDArray[np.float64], stream: LensStream) -> float:
    test = stream.gold < 0
    return aggregation.completeness_at_false_positive_rate(posterior[test, 1], stream.truth[test])


def _interval(name: str, posterior: NDArray[np.float64], stream: LensStream) -> Iterator[Figure]:
    test = stream.gold < 0
    metric = aggregation.completeness_at_false_positive_rate
    found = aggregation.bootstrap_interval(metric, posterior[test, 1], stream.truth[test], n=200)
    yield Figure(f"lenses, {name}, completeness from", found.low, "of the lenses")
    yield Figure(f"lenses, {name}, completeness to", found.high, "of the lenses")


def _cost(stream: LensStream) -> Iterator[Figure]:
    votes = (stream.subject, stream.volunteer, stream.answer)
    n, n_added = len(stream.subject), min(ADDED, len(stream.subject))
    rows = list(zip(*(column[:n_added].tolist() for column in votes), strict=True))

    def add_each() -> None:
        running = aggregation.RunningSwap(stream.gold)
        for vote in rows:
            running.add(*vote)

    added, followed, fitted = cpu_seconds(
        add_each, lambda: aggregation.swap(*votes, stream.gold), lambda: aggregation.swap_em(*votes, stream.gold)
    )
    yield Figure("RunningSwap, one vote", added / n_added * 1e6, "CPU µs", at_most=20)
    yield Figure("SWAP of a whole log, per vote", followed / n * 1e6, "CPU µs")
    yield Figure("product EM, per vote", fitted / n * 1e6, "CPU µs")
