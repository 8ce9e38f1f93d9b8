"""Which subjects come next: unseen, open, the highest bucket first, never a wrong "nothing is left"."""

import re
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from classify import leases, selection, selection_sql
from classify.models import Classification, Lease, SubjectProgress
from classify.services import Route, retire_subject, route_subjects
from classify.versions import definition_of


def ids_of(subjects: Any) -> list[int]:
    return [subject.pk for subject in subjects]


def select(workflow: Any, volunteer: Any = None, count: int = 20, **options: Any) -> selection.Selection:
    volunteer_id = volunteer.pk if volunteer is not None else None
    return selection.select(
        workflow_id=workflow.pk,
        definition=definition_of(workflow.current),
        volunteer_id=volunteer_id,
        count=count,
        **options,
    )


def next_ids(workflow: Any, volunteer: Any = None, count: int = 20, **options: Any) -> list[int]:
    return ids_of(select(workflow, volunteer, count, **options).subjects)


def shorten(monkeypatch: Any, *, head: int, cap: int) -> None:
    """Let a few subjects be as many as the statements look at."""
    for name in ("WINDOW_TAKEN", "WINDOW_CANDIDATES"):
        text = re.sub(
            rf"LIMIT ({selection_sql.SMALL}|{selection_sql.CAP})\b", f"LIMIT {cap}", getattr(selection_sql, name)
        )
        text = re.sub(r"\d+ AS most", f"{cap} AS most", text)
        monkeypatch.setattr(selection_sql, name, text)
    text = re.sub(rf"\b{selection_sql.HEAD}\b", str(head), selection_sql.HEAD_OF_QUEUE)
    monkeypatch.setattr(selection_sql, "HEAD_OF_QUEUE", text)
    monkeypatch.setattr(selection_sql, "HEAD", head)


def see(workflow: Any, volunteer: Any, subjects: Any) -> None:
    """Let the volunteer have classified the subjects, without anything else changing."""
    Classification.objects.bulk_create(
        Classification(
            client_id=f"00000000-0000-4000-8000-{volunteer.pk:04d}{subject.pk:08d}",
            workflow=workflow,
            workflow_version=workflow.current,
            subject=subject,
            volunteer=volunteer,
            annotations=[{"task": "T0", "value": 0}],
            started_at="2026-05-01T12:00:00Z",
            finished_at="2026-05-01T12:00:00Z",
        )
        for subject in subjects
    )


def test_everything_open_is_served_once(world: Any) -> None:
    workflow = world.workflow(subjects=12)
    served = next_ids(workflow)
    assert sorted(served) == sorted(workflow.project.subjects.values_list("id", flat=True))


def test_what_the_volunteer_has_seen_is_not_served(world: Any) -> None:
    workflow = world.workflow(subjects=6)
    subjects = list(workflow.project.subjects.all())
    volunteer, other = world.volunteer(), world.volunteer()
    see(workflow, volunteer, subjects[:4])
    see(workflow, other, subjects[4:])
    assert sorted(next_ids(workflow, volunteer)) == ids_of(subjects[4:])
    assert sorted(next_ids(workflow, other)) == ids_of(subjects[:4])
    assert sorted(next_ids(workflow)) == ids_of(subjects)


def test_seeing_a_subject_in_another_workflow_does_not_hide_it(world: Any) -> None:
    from starsieve.projects.services import create_workflow, link_subject_set

    workflow = world.workflow(subjects=1)
    subject = workflow.project.subjects.get()
    other = create_workflow(
        project=workflow.project, name="B", definition=workflow.current.definition, user=workflow.project.created_by
    )
    link_subject_set(workflow=other, subject_set=subject.subject_set)
    volunteer = world.volunteer()
    see(workflow, volunteer, [subject])
    assert next_ids(other, volunteer) == [subject.pk]


def test_retired_held_and_unlinked_subjects_are_not_served(world: Any) -> None:
    from starsieve.projects.services import link_subject_set, unlink_subject_set

    workflow = world.workflow(subjects=3)
    retired, held, open_ = workflow.project.subjects.all()
    retire_subject(workflow=workflow, subject=retired)
    route_subjects(workflow=workflow, routes=[Route(held.pk, bucket=99, is_held=True)])
    assert next_ids(workflow) == [open_.pk]
    unlink_subject_set(workflow=workflow, subject_set=open_.subject_set)
    assert next_ids(workflow) == []
    assert select(workflow, count=1).reason == "empty"
    link_subject_set(workflow=workflow, subject_set=open_.subject_set)
    assert next_ids(workflow) == [open_.pk]


def test_higher_buckets_come_first(world: Any) -> None:
    workflow = world.workflow(subjects=9)
    subjects = list(workflow.project.subjects.all())
    route_subjects(workflow=workflow, routes=[Route(s.pk, bucket=10 + i) for i, s in enumerate(subjects)])
    assert next_ids(workflow, count=1) == [subjects[-1].pk]
    assert next_ids(workflow) == ids_of(reversed(subjects))
    volunteer = world.volunteer()
    see(workflow, volunteer, subjects[6:])
    assert next_ids(workflow, volunteer, count=2) == [subjects[5].pk, subjects[4].pk]


def test_a_machines_score_changes_who_is_next(world: Any) -> None:
    workflow = world.workflow(subjects=30)
    chosen = workflow.project.subjects.last()
    route_subjects(workflow=workflow, routes=[Route(chosen.pk, bucket=99)])
    assert {tuple(next_ids(workflow, count=1)) for _ in range(5)} == {(chosen.pk,)}


def test_a_released_subject_is_served_again(world: Any) -> None:
    workflow = world.workflow(subjects=1)
    subject = workflow.project.subjects.get()
    route_subjects(workflow=workflow, routes=[Route(subject.pk, bucket=5, is_held=True)])
    assert next_ids(workflow) == []
    route_subjects(workflow=workflow, routes=[Route(subject.pk, bucket=5, is_held=False)])
    assert next_ids(workflow) == [subject.pk]


def test_volunteers_are_spread_over_a_bucket(world: Any) -> None:
    workflow = world.workflow(subjects=40)
    served = Counter(next_ids(workflow, count=1)[0] for _ in range(200))
    # A random pivot serves each gap in proportion to its length: far from one head for all.
    assert len(served) > 15
    assert served.most_common(1)[0][1] < 100


def test_a_window_that_finds_nothing_unseen_does_not_end_the_search(world: Any, monkeypatch: Any) -> None:
    """More seen neighbours on both sides than any window or the head looks at."""
    shorten(monkeypatch, head=5, cap=2)
    workflow = world.workflow(subjects=60)
    volunteer = world.volunteer()
    rows = list(SubjectProgress.objects.filter(workflow=workflow).order_by("pivot"))
    see(workflow, volunteer, [row.subject for row in rows[:57]])
    left = {row.subject_id for row in rows[57:]}
    for _ in range(20):
        found = select(workflow, volunteer, count=2)
        assert found.subjects
        assert set(ids_of(found.subjects)) <= left
        assert found.reason == ""
        assert found.remaining >= len(found.subjects)
    see(workflow, volunteer, [row.subject for row in rows[57:]])
    assert select(workflow, volunteer, count=2).reason == "seen_all"


@pytest.mark.parametrize("n_held", [0, leases.MOST_HELD])
def test_a_pivot_in_a_long_stretch_that_was_seen_is_followed_by_another(
    world: Any, monkeypatch: Any, n_held: int
) -> None:
    """Without the look at the whole head of the queue, which costs several times as much; also for someone who holds
    as many subjects as one may and so is served those, whatever the window shows.
    """
    n_seen = selection_sql.CAP
    workflow, volunteer = world.workflow(subjects=n_seen + selection_sql.MOST_REMAINING + 5), world.volunteer()
    rows = list(SubjectProgress.objects.filter(workflow=workflow).select_related("subject").order_by("pivot"))
    see(workflow, volunteer, [row.subject for row in rows[:n_seen]])
    in_turn = [row.subject_id for row in rows[n_seen + 2 :]]
    until = timezone.now() + timedelta(minutes=5)
    Lease.objects.bulk_create(
        Lease(workflow=workflow, volunteer=volunteer, subject_id=subject_id, expires_at=until)
        for subject_id in (in_turn[-n_held:] if n_held else [])
    )
    drawn = [1.0, 1.0, 0.0, rows[n_seen + 2].pivot]  # neither place is for training; the two pivots
    monkeypatch.setattr(selection.random, "random", lambda: drawn.pop(0))
    monkeypatch.setattr(selection._Search, "head", lambda _: pytest.fail("the head was asked for"))
    found = select(workflow, volunteer, count=2)
    assert ids_of(found.subjects) == in_turn[-n_held:][:2]
    assert found.remaining == selection_sql.MOST_REMAINING
    assert drawn == []


def test_lower_buckets_are_found_behind_a_long_seen_one(world: Any, monkeypatch: Any) -> None:
    shorten(monkeypatch, head=3, cap=2)
    workflow = world.workflow(subjects=10)
    subjects = list(workflow.project.subjects.all())
    route_subjects(workflow=workflow, routes=[Route(s.pk, bucket=90) for s in subjects[:8]])
    volunteer = world.volunteer()
    see(workflow, volunteer, subjects[:8])
    assert sorted(next_ids(workflow, volunteer)) == ids_of(subjects[8:])


def test_excluding_all_that_is_left_is_not_the_end(world: Any, monkeypatch: Any) -> None:
    workflow = world.workflow(subjects=10)
    volunteer = world.volunteer()
    rows = list(SubjectProgress.objects.filter(workflow=workflow).order_by("pivot"))
    see(workflow, volunteer, [row.subject for row in rows[:8]])
    left = [row.subject_id for row in rows[8:]]
    for _ in ("with the usual head", "with one that holds none of them"):
        found = select(workflow, volunteer, count=5, exclude=left)
        assert (found.subjects, found.reason, found.remaining) == ([], "", 2)
        shorten(monkeypatch, head=3, cap=2)


@pytest.mark.parametrize("n_seen", [0, 3])
def test_remaining_counts_what_this_volunteer_has_left(world: Any, n_seen: int) -> None:
    workflow = world.workflow(subjects=7)
    volunteer = world.volunteer()
    see(workflow, volunteer, workflow.project.subjects.all()[:n_seen])
    for count in (1, 20):
        found = select(workflow, volunteer, count=count)
        assert found.remaining == 7 - n_seen


def test_remaining_stops_counting_where_it_says(world: Any) -> None:
    workflow = world.workflow(subjects=selection_sql.MOST_REMAINING + 5)
    assert select(workflow, count=1).remaining == selection_sql.MOST_REMAINING


def test_one_statement_serves_the_usual_case(world: Any, django_assert_num_queries: Any) -> None:
    """SQLite looks, writes the leases in a transaction (BEGIN, four statements, COMMIT), and reads the subjects."""
    workflow, volunteer = world.workflow(subjects=20), world.volunteer()
    with django_assert_num_queries(1 if connection.vendor == "postgresql" else 8):
        assert len(select(workflow, volunteer, count=3).subjects) == 3
    with django_assert_num_queries(1 if connection.vendor == "postgresql" else 3):
        assert len(select(workflow, count=3).subjects) == 3
