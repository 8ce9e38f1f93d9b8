from django.db import migrations

# Whether a subject has room for one more: open, and fewer than `full_at` classifications since its reopening and
# leases of others that are still to be answered. VOLATILE: each call sees what was committed up to then.
ROOM = """
CREATE FUNCTION classify_has_room(in_workflow bigint, of_subject bigint, for_volunteer bigint, full_at bigint)
RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN coalesce((
        SELECT queued.classification_count - queued.count_at_reopening + (
            SELECT count(*) FROM classify_lease held
            WHERE held.workflow_id = in_workflow AND held.subject_id = of_subject
            AND held.volunteer_id <> for_volunteer AND held.expires_at > now()
            AND (SELECT 1 FROM classify_classification done
                 WHERE done.workflow_id = in_workflow AND done.volunteer_id = held.volunteer_id
                 AND done.subject_id = of_subject LIMIT 1) IS NULL
        ) < full_at
        FROM classify_subjectprogress queued
        WHERE queued.workflow_id = in_workflow AND queued.subject_id = of_subject
        AND queued.retired_at IS NULL AND NOT queued.is_held AND NOT queued.is_withdrawn
    ), false);
END
$$
"""

# The first `wanted` of the candidates that have room, leased to the volunteer (0: nobody yet, nothing is written).
# Two who ask at once cannot both take the last place: a subject is leased under an advisory lock, after another look at
# its room, and nobody waits for such a lock, so there is no deadlock. Whoever holds `most_held` gets what they hold.
# What the client says it has already (`excluded`) is renewed in time.
LEASE = """
CREATE FUNCTION classify_lease_subjects(
    in_workflow bigint, for_volunteer bigint, candidates bigint[], excluded bigint[], wanted bigint, most_held bigint,
    full_at bigint, seconds bigint
) RETURNS SETOF bigint LANGUAGE plpgsql VOLATILE ROWS 20 AS $$
DECLARE
    candidate bigint;
    left_to_take bigint := wanted;
    n_held bigint := 0;
    is_own boolean := false;
    held_until timestamptz;
    half_way timestamptz := now() + make_interval(secs => seconds / 2);
BEGIN
    IF for_volunteer <> 0 THEN
        -- As an array, of which PostgreSQL expects few: of a subquery's rows it may expect as many as it takes to read
        -- the whole table for them.
        DELETE FROM classify_lease WHERE id = ANY (ARRAY(
            SELECT own.id FROM classify_lease own
            WHERE own.volunteer_id = for_volunteer AND own.workflow_id = in_workflow AND (
                own.expires_at <= now() OR
                (SELECT 1 FROM classify_classification done
                 WHERE done.workflow_id = in_workflow AND done.volunteer_id = for_volunteer
                 AND done.subject_id = own.subject_id LIMIT 1) IS NOT NULL
            ) FOR UPDATE SKIP LOCKED
        ));
        UPDATE classify_lease SET expires_at = now() + make_interval(secs => seconds) WHERE id = ANY (ARRAY(
            SELECT own.id FROM classify_lease own
            WHERE own.volunteer_id = for_volunteer AND own.workflow_id = in_workflow
            AND own.subject_id = ANY (excluded) AND own.expires_at < half_way
            FOR UPDATE SKIP LOCKED
        ));
        SELECT count(*) INTO n_held FROM classify_lease own
        WHERE own.volunteer_id = for_volunteer AND own.workflow_id = in_workflow;
        IF n_held >= most_held THEN
            candidates := ARRAY(
                SELECT own.subject_id FROM classify_lease own
                WHERE own.volunteer_id = for_volunteer AND own.workflow_id = in_workflow
                AND own.subject_id <> ALL (excluded) ORDER BY own.id
            );
        END IF;
    END IF;
    FOREACH candidate IN ARRAY candidates LOOP
        EXIT WHEN left_to_take <= 0;
        CONTINUE WHEN NOT classify_has_room(in_workflow, candidate, for_volunteer, full_at);
        IF for_volunteer <> 0 THEN
            SELECT own.expires_at INTO held_until FROM classify_lease own
            WHERE own.workflow_id = in_workflow AND own.subject_id = candidate AND own.volunteer_id = for_volunteer;
            is_own := FOUND;
            CONTINUE WHEN n_held >= most_held AND NOT is_own;
            -- One's own that is not half over is not written again: who asks and asks leaves no trail of old rows.
            IF NOT is_own OR held_until < half_way THEN
                CONTINUE WHEN NOT pg_try_advisory_xact_lock(
                    hashtextextended('lease ' || in_workflow || ' ' || candidate, 0)
                );
                CONTINUE WHEN NOT classify_has_room(in_workflow, candidate, for_volunteer, full_at);
                INSERT INTO classify_lease (workflow_id, subject_id, volunteer_id, expires_at)
                VALUES (in_workflow, candidate, for_volunteer, now() + make_interval(secs => seconds))
                ON CONFLICT (workflow_id, subject_id, volunteer_id) DO UPDATE SET expires_at = EXCLUDED.expires_at;
            END IF;
            IF NOT is_own THEN n_held := n_held + 1; END IF;
        END IF;
        left_to_take := left_to_take - 1;
        RETURN NEXT candidate;
    END LOOP;
END
$$
"""


def add_functions(apps, schema_editor):
    """On SQLite a transaction is alone, and classify/leases.py does the same in one."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(ROOM, params=None)
        schema_editor.execute(LEASE, params=None)


def drop_functions(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP FUNCTION classify_lease_subjects")
        schema_editor.execute("DROP FUNCTION classify_has_room")


class Migration(migrations.Migration):
    dependencies = [("classify", "0004_training")]

    operations = [migrations.RunPython(add_functions, drop_functions)]
