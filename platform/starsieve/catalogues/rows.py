"""Rows of the two tables, in the order of their columns (columns.py)."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from starsieve.catalogues.columns import CLUMP_MODEL, EXPECTED_ERRORS, Layout, TaskColumns
from starsieve.catalogues.reduction import ReducedSubject
from starsieve.projects.models import Subject
from starsieve.projects.task_types import GRADES

Row = list[Any]


def subject_row(layout: Layout, reduced: ReducedSubject) -> Row:
    frozen, subject = reduced.frozen, reduced.frozen.subject
    values: dict[str, Any] = {
        "subject_id": subject.pk,
        "name": subject.name,
        "subject_set": subject.subject_set.name,
        "origin": subject.origin,
        "ra": subject.ra,
        "dec": subject.dec,
        "n_classifications": reduced.n_classifications,
        "retired": bool(frozen.retirement_reason),
        "retirement_reason": frozen.retirement_reason or None,
        "ml_score": frozen.ml_score,
        "ml_model": str(frozen.ml_model) if frozen.ml_model else None,
        "is_control": frozen.is_control,
    }
    for columns in layout.tasks:
        values |= _task_values(columns, reduced.summaries[columns.task.key])
    return [values[column.name] for column in layout.subjects]


def _task_values(columns: TaskColumns, summary: dict[str, Any]) -> dict[str, Any]:
    if columns.n_clumps:
        said = summary.get("consensus", {})
        errors = {name: said.get(key) for name, key in zip(columns.errors, EXPECTED_ERRORS, strict=False)}
        return {columns.n: summary["n_seen"], columns.n_clumps: len(_clumps_of(columns, summary)), **errors}
    values = {columns.n: summary["n"]}
    if columns.counts:
        counts, fractions = summary["counts"], summary["fractions"]
        if columns.grade:
            counts, fractions = ([numbers[grade] for grade in GRADES] for numbers in (counts, fractions))
            values |= {columns.grade: summary["grade"], columns.expected_grade: summary["expected_grade"]}
        values |= dict(zip(columns.counts, counts, strict=True))
        values |= dict(zip(columns.fractions, fractions, strict=True))
        values[columns.agreement] = summary["agreement"]
    return values | _model_values(columns, summary.get("consensus"))


def _model_values(columns: TaskColumns, said: dict[str, Any] | None) -> dict[str, Any]:
    """What the task's model says; empty where nobody did the task."""
    if not columns.probabilities:
        return {}
    if said is None:
        empty = (*columns.probabilities, columns.answer, columns.applies, columns.rank, columns.rank_error)
        return {**dict.fromkeys(filter(None, empty)), **({columns.adjudicate: False} if columns.adjudicate else {})}
    values: dict[str, Any] = dict(zip(columns.probabilities, said["p"], strict=True))
    if columns.grade:
        values |= {columns.grade: said["answer"], columns.expected_grade: said["expected_grade"]}
        values |= {columns.rank: said["rank"], columns.rank_error: said["rank_error"]}
        values[columns.adjudicate] = said["adjudicate"]
    else:
        values[columns.answer] = columns.task.answers[said["answer"]].key  # type: ignore[attr-defined]
    if columns.applies:
        values[columns.applies] = said["reach"]
    return values


def clump_rows(layout: Layout, reduced: ReducedSubject) -> Iterator[Row]:
    """One row per consensus box; columns of other tasks' tools stay empty."""
    subject = reduced.frozen.subject
    for columns in layout.tasks:
        if not columns.n_clumps:
            continue
        summary = reduced.summaries[columns.task.key]
        for number, clump in enumerate(_clumps_of(columns, summary), start=1):
            ra, dec = sky_position(subject, clump["x"] + clump["width"] / 2, clump["y"] + clump["height"] / 2)
            values = {
                "subject_id": subject.pk, "name": subject.name, "task": columns.task.name, "clump": number,
                "n_seen": summary["n_seen"], "ra": ra, "dec": dec,
                **{side: clump[side] for side in ("x", "y", "width", "height", "n_marks")},
                "fraction": clump["n_marks"] / summary["n_seen"],
                **{column.name: clump.get(column.name) for column in CLUMP_MODEL},
                **dict(zip(columns.labels, clump["label_fractions"].values(), strict=True)),
            }  # fmt: skip
            yield [values.get(column.name) for column in layout.clumps]


def _clumps_of(columns: TaskColumns, summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The model's boxes where the task has a model, else those of the running vote."""
    clumps: list[dict[str, Any]] = (
        summary.get("consensus", {"clumps": []})["clumps"] if columns.errors else summary["clumps"]
    )
    return clumps


def sky_position(subject: Subject, x: float, y: float) -> tuple[float | None, float | None]:
    """ICRS position in degrees of a point of the stamp, or two Nones for a stamp without coordinates.

    x, y count from the upper left corner of the frame, so the middle of the first pixel is (0.5, 0.5), which FITS
    calls (1, 1).
    """
    if not subject.wcs:
        return None, None
    ra, dec = _coordinates(tuple(sorted(subject.wcs.items()))).all_pix2world(x + 0.5, y + 0.5, 1)
    return float(ra), float(dec)


@lru_cache(maxsize=16)
def _coordinates(cards: tuple[tuple[str, Any], ...]) -> Any:
    from astropy.io.fits import Header  # astropy stays out of web processes
    from astropy.wcs import WCS

    header = Header()
    for name, value in cards:
        header[name] = value
    return WCS(header)
