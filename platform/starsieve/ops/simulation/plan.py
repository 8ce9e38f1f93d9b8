"""What a simulation makes, in which order, and who classifies what; the same for the same numbers and seed."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

MOST_SUBJECTS = 10_000_000
MOST_VOLUNTEERS = 1_000_000
MOST_CLASSIFICATIONS = 1_000_000_000
MOST_SEED = 2**31 - 1
BLOCK_ROWS = 100_000  # classifications, or subjects, that are in memory at a time
CELLS = 4_000_000  # subjects × volunteers drawn at a time where nearly everyone sees everything
#: So many in a hundred subjects get a classification more than the retirement limit, as volunteers meet on them.
OVERSHOOT = 0.01

#: Ids of simulated volunteers and classifications begin with this; version 8 says that they are not random.
MAGIC = 0x51E7E51F
FIRST_ID = UUID(int=MAGIC << 96)
LAST_ID = UUID(int=(MAGIC << 96) | (2**96 - 1))
COUNTER_BITS = 40


class SimulationRefused(ValueError):
    """What was asked cannot or should not be done; the message says why and what can."""


@dataclass(frozen=True)
class Plan:
    """How many of each, the share of subjects whose truth becomes a gold standard, and the seed of everything."""

    subjects: int
    volunteers: int
    classifications: int
    seed: int = 0
    gold: float = 0.05


@dataclass(frozen=True)
class Block:
    """A stretch of subjects that are classified in the same stretch of time."""

    number: int
    first_subject: int
    n_subjects: int
    first_classification: int
    n_classifications: int


def check_plan(plan: Plan) -> None:
    """Raises SimulationRefused naming the option for numbers that make no sense."""
    _check_range("--subjects", plan.subjects, 1, MOST_SUBJECTS)
    _check_range("--volunteers", plan.volunteers, 1, MOST_VOLUNTEERS)
    _check_range("--classifications", plan.classifications, 0, MOST_CLASSIFICATIONS)
    _check_range("--seed", plan.seed, 0, MOST_SEED)
    if not 0 <= plan.gold <= 1:
        raise SimulationRefused(f"--gold must be a share between 0 and 1, not {plan.gold}")
    most = plan.subjects * plan.volunteers
    if plan.classifications > most:
        raise SimulationRefused(
            f"--classifications {plan.classifications:,} is more than {plan.volunteers:,} volunteers can give to "
            f"{plan.subjects:,} subjects without classifying one twice: {most:,} at most"
        )


def _check_range(option: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise SimulationRefused(f"{option} must be between {least:,} and {most:,}, not {value:,}")


def blocks_of(plan: Plan) -> Iterator[Block]:
    """All subjects and classifications once, in blocks that fit in memory."""
    per_subject = max(plan.classifications / plan.subjects, 1.0)
    size = max(int(BLOCK_ROWS / per_subject), 1)
    for number, first in enumerate(range(0, plan.subjects, size)):
        n = min(size, plan.subjects - first)
        begin, end = (plan.classifications * subject // plan.subjects for subject in (first, first + n))
        yield Block(number, first, n, begin, end - begin)


def classification_counts(block: Block, limit: int, n_volunteers: int, rng: np.random.Generator) -> Ints:
    """How many classifications each subject of the block gets, exactly as many as the block has.

    Volunteers fill the places below the retirement limit first, in random order, and a few above it where they meet;
    only what is left goes to retired subjects. Nobody can classify twice, so that a subject has n_volunteers places.
    """
    usual = np.minimum(limit + (rng.random(block.n_subjects) < OVERSHOOT), n_volunteers).astype(np.int64)
    left = block.n_classifications - int(usual.sum())
    if left <= 0:
        return _spread(block.n_classifications, usual, rng)
    return np.asarray(usual + _spread(left, n_volunteers - usual, rng))


def _spread(n: int, places: Ints, rng: np.random.Generator) -> Ints:
    """`n` taken out of all places at random: how many of each. Far more places than are taken would change nothing."""
    enough = 20 * -(-n // len(places)) + 50
    return np.asarray(rng.multivariate_hypergeometric(np.minimum(places, enough), n, method="marginals"))


def who_sees_what(counts: Ints, effort: NDArray[np.float64], rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Subject and volunteer of each classification in the order of arrival: `counts[i]` different volunteers for
    subject i, drawn with weights `effort`.
    """
    if not counts.sum():
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    draw = _draw_few if 20 * int(counts.max()) < len(effort) else _draw_many
    subject, volunteer = draw(counts, effort, rng)
    order = rng.permutation(len(subject))
    return subject[order], volunteer[order]


def _draw_few(counts: Ints, effort: NDArray[np.float64], rng: np.random.Generator) -> tuple[Ints, Ints]:
    """By drawing again whoever was drawn twice."""
    n, cumulative = len(effort), np.cumsum(effort)
    pairs = np.zeros(0, dtype=np.int64)
    short = counts
    while short.any():
        places = np.repeat(np.arange(len(counts)), short)
        drawn = np.searchsorted(cumulative, rng.random(len(places)) * cumulative[-1], side="right")
        pairs = np.unique(np.concatenate([pairs, places * n + np.minimum(drawn, n - 1)]))
        short = counts - np.bincount(pairs // n, minlength=len(counts))
    return np.divmod(pairs, n)


def _draw_many(counts: Ints, effort: NDArray[np.float64], rng: np.random.Generator) -> tuple[Ints, Ints]:
    """By ranking all volunteers for each subject (Efraimidis and Spirakis 2006, Inf. Process. Lett. 97, 181)."""
    subjects, volunteers = [], []
    step = max(CELLS // len(effort), 1)
    for first in range(0, len(counts), step):
        wanted = counts[first : first + step]
        order = np.argsort(rng.exponential(size=(len(wanted), len(effort))) / effort, axis=1)
        row, place = np.nonzero(np.arange(len(effort)) < wanted[:, None])
        subjects.append(first + row)
        volunteers.append(order[row, place])
    return np.concatenate(subjects), np.concatenate(volunteers)


def ranks(subject: Ints) -> Ints:
    """The number of earlier rows with the same subject, for each row."""
    order = np.argsort(subject, kind="stable")
    ordered = subject[order]
    starts = np.searchsorted(ordered, ordered, side="left")
    result = np.empty(len(subject), dtype=np.int64)
    result[order] = np.arange(len(subject)) - starts
    return result


def id_prefix(kind: str, workflow_id: int, seed: int) -> int:
    """The first 88 bits of all ids of this kind in this workflow's simulation of this seed."""
    digest = blake2b(f"{kind} {workflow_id} {seed}".encode(), digest_size=8).digest()
    run = int.from_bytes(digest, "big") >> 14  # 50 bits
    upper, middle, lower = run >> 34, (run >> 22) & 0xFFF, run & 0x3FFFFF
    return (MAGIC << 56) | (upper << 40) | (8 << 36) | (middle << 24) | (0b10 << 22) | lower


def ids_of(kind: str, workflow_id: int, seed: int, first: int, n: int) -> list[str]:
    """Ids number `first` to `first + n - 1` of this kind, as 32 hexadecimal digits, ascending."""
    prefix = f"{id_prefix(kind, workflow_id, seed):022x}"
    return [f"{prefix}{number:010x}" for number in range(first, first + n)]


def id_range(kind: str, workflow_id: int, seed: int) -> tuple[UUID, UUID]:
    """The lowest and the highest id of this kind."""
    prefix = id_prefix(kind, workflow_id, seed) << COUNTER_BITS
    return UUID(int=prefix), UUID(int=prefix | (2**COUNTER_BITS - 1))
