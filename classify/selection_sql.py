"""The statements of selection. classify/selection.py says in which order they are asked, and why there are several.

In braces stands what a request fills in: `{not_excluded}`, `{ordinary}` (with a training schedule, training subjects
are not in the ordinary queue), `{taking}` (PostgreSQL: how candidates are taken, classify/leases.py). `%(…)s` are
parameters, so that a statement is prepared once.

Whether a subject was seen is asked for one subject at a time, as a scalar subquery: given the choice (NOT EXISTS),
PostgreSQL would rather read everything that this volunteer ever classified. In the exact query a CASE around it keeps
PostgreSQL from thinking that hardly any subject is unseen, and from sorting the whole table for that.
"""

from classify.models import URGENCIES, Classification, Lease, SubjectProgress
from starsieve.projects.models import Subject
from starsieve.statements import Columns

#: Rows that a window reads of each of the most urgent groups, upwards and from the beginning.
SMALL = 100
#: The same of the mass of a bucket, and of what is below.
CAP = 256
HEAD = 2000
#: `remaining` counts up to here.
MOST_REMAINING = 200
#: Of the window's urgent subjects, and of the others, no more are tried: each costs a look at its leases.
MOST_TRIED = 48
#: Of the search for the exact answer: how many more candidates than wanted, as others may take some just then.
SPARE = 20

PROGRESS = SubjectProgress._meta.db_table
SUBJECT = Subject._meta.db_table
CLASSIFICATION = Classification._meta.db_table
LEASE = Lease._meta.db_table
SERVED = Columns(Subject, "id", "frames", "metadata")

# The words of the partial index's own condition, so that SQLite recognises it.
OPEN = "workflow_id = %(workflow)s AND retired_at IS NULL AND NOT is_held AND NOT is_withdrawn"
UNSEEN = (
    f"(SELECT 1 FROM {CLASSIFICATION} seen WHERE seen.workflow_id = %(workflow)s "
    "AND seen.volunteer_id = %(volunteer)s AND seen.subject_id = queued.subject_id LIMIT 1) IS NULL"
)
# Fewer classifications since the last reopening, and leases of others that are still to be answered, than it takes.
ROOM = f"""
    queued.classification_count - queued.count_at_reopening + (
        SELECT count(*) FROM {LEASE} held
        WHERE held.workflow_id = %(workflow)s AND held.subject_id = queued.subject_id
        AND held.volunteer_id <> %(volunteer)s AND held.expires_at > %(now)s
        AND (SELECT 1 FROM {CLASSIFICATION} done WHERE done.workflow_id = %(workflow)s
             AND done.volunteer_id = held.volunteer_id AND done.subject_id = held.subject_id LIMIT 1) IS NULL
    ) < %(full_at)s
"""
COLUMNS = "subject_id, priority, pivot, is_training"


def _part(number: int, where: str, order: str, most: int) -> str:
    """A stretch of the queue: at most so many rows, read in the index's order."""
    return (
        f"SELECT * FROM (SELECT {number} AS part, {most} AS most, {COLUMNS} FROM {PROGRESS} "
        f"WHERE {OPEN} AND {where} ORDER BY {order} LIMIT {most}) part_{number}"
    )


def _around_pivot(number: int, where: str, most: int) -> list[str]:
    return [
        _part(number, f"{where} AND pivot >= %(pivot)s", "pivot", most),
        _part(number + 1, f"{where} AND pivot < %(pivot)s", "pivot", most),
    ]


def _highest_below(bound: str) -> str:
    return f"SELECT priority FROM {PROGRESS} WHERE {OPEN} AND priority < {bound} ORDER BY priority DESC LIMIT 1"


def _of(name: str) -> str:
    return f"(SELECT priority FROM {name})"


def _urgent(name: str) -> str:
    """Nothing where the group is the mass itself, or of a lower bucket. Within the key that is looked up: beside it,
    SQLite would read the whole group to find it untrue of each row.
    """
    return f"(SELECT priority FROM {name} WHERE priority > {_of('mass')})"


_URGENT = [
    *(
        part
        for i, name in enumerate(("first", "second", "third"))
        for part in _around_pivot(2 * i, f"priority = {_urgent(name)}", SMALL)
    ),
    _part(6, f"priority < {_of('third')} AND priority > {_of('mass')}", "priority DESC, pivot", SMALL),
]
_MASS = [
    *_around_pivot(7, f"priority = {_of('mass')}", CAP),
    _part(9, f"priority < {_of('mass')}", "priority DESC, pivot", CAP),
]
# Within a priority from the pivot upwards, then from the beginning.
_BEST_FIRST = "priority DESC, pivot < %(pivot)s, pivot"


# LIMIT takes no column, but a scalar subquery.
_NEEDED_OF_MASS = (
    f"(SELECT CASE WHEN n < {MOST_REMAINING - MOST_TRIED} THEN {MOST_REMAINING} - n ELSE {MOST_TRIED} END "
    "FROM n_urgent)"
)


def _unseen(name: str, most: str) -> str:
    return f"SELECT subject_id, priority, pivot FROM {name} queued WHERE {{ordinary}} AND {UNSEEN} LIMIT {most}"


# The three most urgent groups of the highest bucket and what is between them and its mass (urgency 0); then the mass,
# and what is below. The parts are read one after the other, and only as far as it takes to count what is left, but
# always far enough into the mass that others who hold all of the most urgent leave something to serve. Where the count
# is not full all parts have been read, and it is exact unless one of them was longer than its cap.
WINDOW = f"""
    WITH first AS ({_highest_below("%(below)s")}),
    second AS ({_highest_below(_of("first"))}),
    third AS ({_highest_below(_of("second"))}),
    mass AS (SELECT priority / {URGENCIES} * {URGENCIES} AS priority FROM first),
    urgent AS NOT MATERIALIZED ({" UNION ALL ".join(_URGENT)}),
    rest AS NOT MATERIALIZED ({" UNION ALL ".join(_MASS)}),
    unseen_urgent AS ({_unseen("urgent", str(MOST_REMAINING))}),
    n_urgent AS (SELECT count(*) AS n FROM unseen_urgent),
    unseen_rest AS ({_unseen("rest", _NEEDED_OF_MASS)}),
    n_unseen AS (SELECT (SELECT n FROM n_urgent) + (SELECT count(*) FROM unseen_rest) AS n),
    counts AS (
        SELECT n AS n_unseen, CASE WHEN n < {MOST_REMAINING} THEN
            (SELECT count(*) FROM (SELECT 1 FROM urgent GROUP BY part, most HAVING count(*) = most) cut) +
            (SELECT count(*) FROM (SELECT 1 FROM rest GROUP BY part, most HAVING count(*) = most) cut)
        ELSE 0 END AS n_cut
        FROM n_unseen
    ),
    candidates AS (
        SELECT * FROM (
            SELECT * FROM unseen_urgent WHERE {{not_excluded}} ORDER BY {_BEST_FIRST} LIMIT {MOST_TRIED}
        ) best_urgent
        UNION ALL
        SELECT * FROM (
            SELECT * FROM unseen_rest WHERE {{not_excluded}} ORDER BY {_BEST_FIRST} LIMIT {MOST_TRIED}
        ) best_rest
    )
"""
# One by one: PostgreSQL expects many rows of an array, and would rather read all subjects for them.
_SUBJECT_TAKEN = f"SELECT {SERVED.of(SUBJECT)} FROM {SUBJECT} WHERE id = taken.subject_id LIMIT 1"
CANDIDATES = f"SELECT subject_id FROM candidates ORDER BY {_BEST_FIRST}"
#: PostgreSQL: the window, its candidates taken, and their subjects, in one statement. Always at least one row.
WINDOW_TAKEN = f"""
    {WINDOW.rstrip()},
    taken AS MATERIALIZED ({{taking}})
    SELECT counts.n_unseen, counts.n_cut, {SERVED.of("subject")}
    FROM counts LEFT JOIN taken ON true LEFT JOIN LATERAL ({_SUBJECT_TAKEN}) subject ON true
    ORDER BY taken.place
"""
#: SQLite: the window and its candidates.
WINDOW_CANDIDATES = f"""
    {WINDOW}
    SELECT counts.n_unseen, counts.n_cut, candidate.subject_id
    FROM counts LEFT JOIN candidates candidate ON true
    ORDER BY {_BEST_FIRST}
"""
#: PostgreSQL: subjects of candidates found otherwise.
TAKEN = f"""
    WITH taken AS MATERIALIZED ({{taking}})
    SELECT {SERVED.of("subject")} FROM taken CROSS JOIN LATERAL ({_SUBJECT_TAKEN}) subject ORDER BY taken.place
"""
HEAD_OF_QUEUE = f"""
    WITH queued AS (
        SELECT subject_id, priority, is_training FROM {PROGRESS} WHERE {OPEN} ORDER BY priority DESC, pivot LIMIT {HEAD}
    ),
    unseen AS (SELECT subject_id, priority FROM queued WHERE {{ordinary}} AND {UNSEEN} LIMIT {MOST_REMAINING}),
    counts AS (
        SELECT CASE WHEN (SELECT count(*) FROM unseen) < {MOST_REMAINING} THEN (SELECT count(*) FROM queued)
               ELSE {HEAD} END AS n_queued
    )
    SELECT counts.n_queued, unseen.subject_id, unseen.priority FROM counts LEFT JOIN unseen ON true
"""
PRIORITY_BELOW = _highest_below("%(below)s")
# The number is written into the exact query: of a parameter PostgreSQL would expect a tenth of the table.
EXACTLY = f"""
    SELECT subject_id FROM {PROGRESS} queued
    WHERE {OPEN} AND {{ordinary}} AND CASE WHEN {UNSEEN} THEN true ELSE false END
    AND {{not_excluded}} AND CASE WHEN {{room}} THEN true ELSE false END
    ORDER BY priority DESC, pivot LIMIT {{count}}
"""
WHY_EMPTY = f"""
    SELECT (SELECT 1 FROM {PROGRESS} WHERE {OPEN} AND {{ordinary}} ORDER BY priority DESC, pivot LIMIT 1) IS NOT NULL,
           (SELECT 1 FROM {PROGRESS} WHERE workflow_id = %(workflow)s AND NOT is_withdrawn AND {{ordinary}}
            ORDER BY subject_id LIMIT 1) IS NOT NULL
"""
_TRAINING = (
    f"SELECT subject_id FROM {PROGRESS} WHERE workflow_id = %(workflow)s AND is_training AND NOT is_withdrawn "
    "AND pivot {comparison} %(pivot)s ORDER BY pivot LIMIT {cap}"
)
#: Unseen training subjects, retired or not, and the volunteer's classifications as far as they are counted.
_UNSEEN_TRAINING = f"""
    SELECT subject_id FROM (
        SELECT * FROM ({_TRAINING.format(comparison=">=", cap=CAP)}) upwards
        UNION ALL
        SELECT * FROM ({_TRAINING.format(comparison="<", cap=CAP)}) beginning
    ) queued
    WHERE {UNSEEN} AND {{not_excluded}} LIMIT %(count)s
"""
# In the index's order, so that the index is read.
_SAID = f"""
    SELECT count(*) FROM (
        SELECT 1 FROM {CLASSIFICATION} WHERE workflow_id = %(workflow)s AND volunteer_id = %(volunteer)s
        ORDER BY subject_id LIMIT %(last_threshold)s
    ) said
"""
TRAINING = {
    "postgresql": f"""
        SELECT ({_SAID}), {SERVED.of("subject")}
        FROM ({_UNSEEN_TRAINING}) taken CROSS JOIN LATERAL ({_SUBJECT_TAKEN}) subject
    """,
    "sqlite": f"""
        SELECT ({_SAID}), {SERVED.of("subject")}
        FROM ({_UNSEEN_TRAINING}) taken CROSS JOIN {SUBJECT} subject ON subject.id = taken.subject_id
    """,
}
