"""Classifications are the truth and are never rewritten; progress and tallies can be rebuilt from them."""

from typing import Self
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from starsieve.projects.models import Subject, Workflow, WorkflowVersion

DEFAULT_BUCKET = 50
#: Urgencies within a bucket are 0 to URGENCIES - 1 (classify/urgency.py).
URGENCIES = 8


class Volunteer(models.Model):
    """Who classified: a signed-in user, or an anonymous visitor known by a browser session.

    A visitor who signs in is merged (classify/volunteers.py): `merged_into` then names the user's volunteer, and what
    is left under the old volunteer are second looks of the same person at the same subject, which count nowhere.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="volunteer"
    )
    visitor = models.UUIDField(null=True, blank=True, unique=True, help_text="Random id kept in the visitor's session.")
    merged_into = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"volunteer {self.pk}"


class ClassificationQuerySet(models.QuerySet["Classification"]):
    def counted(self) -> Self:
        """One per person and subject: without the second looks that a merge at sign-in left behind."""
        return self.filter(volunteer__merged_into=None)


class Classification(models.Model):
    """One volunteer's annotations of one subject under one workflow version.

    `id` grows in the order of insertion (a release's watermark); `client_id` is the UUID that the client made.
    """

    client_id = models.UUIDField(unique=True)
    # No index of its own, here and below: indexes on several columns begin with the workflow.
    workflow = models.ForeignKey(Workflow, on_delete=models.PROTECT, db_index=False, related_name="classifications")
    workflow_version = models.ForeignKey(WorkflowVersion, on_delete=models.PROTECT, related_name="classifications")
    subject = models.ForeignKey(Subject, on_delete=models.PROTECT, related_name="classifications")
    volunteer = models.ForeignKey(Volunteer, on_delete=models.PROTECT, related_name="classifications")
    annotations = models.JSONField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)
    metadata = models.JSONField(default=dict, blank=True)
    after_retirement = models.BooleanField(
        default=False, help_text="Arrived after the subject was retired; kept, and counted in its tallies."
    )
    by_expert = models.BooleanField(
        default=False, help_text="Whoever sent it was an expert of the project then; the retirement rule “expert” asks."
    )

    objects = ClassificationQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["workflow", "volunteer", "subject"], name="classified_once_per_volunteer")
        ]
        indexes = [models.Index(fields=["workflow", "subject"], name="classification_by_subject")]

    def __str__(self) -> str:
        return f"classification {self.pk} of {self.subject_id}"


class SubjectProgressQuerySet(models.QuerySet["SubjectProgress"]):
    def unretired(self) -> Self:
        return self.filter(retired_at__isnull=True)

    def open(self) -> Self:
        """What selection may hand out: neither retired, nor held back by the machine, nor withdrawn with its set."""
        return self.unretired().filter(is_held=False, is_withdrawn=False)


class SubjectProgress(models.Model):
    """Where one subject stands in one workflow: its place in the queue and the running tallies of its tasks.

    `tallies` maps task key → the running state of the task's reducer (classify/reducers/); they and the count are of
    `tallied_version` (classify/counting.py says which classifications count). `evidence` is what the votes so far say
    of each task by the live fit in force (classify/live.py). A decision by hand (retired, reopened) and one by a
    consensus run (settled) are kept by a rebuild; everything else is recomputed from the classifications.
    A higher `bucket` is shown earlier, within it a higher `urgency`; `priority` is both in one number. `pivot` is a
    random number in [0, 1) fixed at arrival that spreads volunteers.
    """

    class RetirementReason(models.TextChoices):
        CLASSIFICATION_COUNT = "classification_count", "Classification count"
        AGREEMENT = "agreement", "Volunteers agree"
        POSTERIOR = "posterior", "Probability is sure enough"
        RISK = "risk", "Expected loss is small enough"
        BLANK = "blank", "Nothing to see"
        EXPERT_ANSWER = "expert_answer", "An expert has answered"
        EXPERT = "expert", "Expert decision"
        HUMAN = "human", "Retired by hand"
        SETTLED = "settled", "Consensus is settled"

    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, db_index=False, related_name="progress")
    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, related_name="progress")
    pivot = models.FloatField()
    bucket = models.SmallIntegerField(default=DEFAULT_BUCKET)
    urgency = models.SmallIntegerField(default=0)
    priority = models.GeneratedField(
        expression=F("bucket") * URGENCIES + F("urgency"), output_field=models.IntegerField(), db_persist=True
    )
    is_held = models.BooleanField(default=False, help_text="Scored below the prefilter's cut: not shown.")
    is_withdrawn = models.BooleanField(default=False, help_text="Its set is no longer linked to the workflow.")
    is_control = models.BooleanField(default=False, help_text="Shown whatever its score, to measure completeness.")
    is_training = models.BooleanField(
        default=False, help_text="Its gold standard gives feedback: shown to teach, at the workflow's training rate."
    )
    classification_count = models.PositiveIntegerField(default=0)
    tallies = models.JSONField(default=dict)
    evidence = models.JSONField(default=dict)
    tallied_version = models.ForeignKey(
        WorkflowVersion, on_delete=models.SET_NULL, null=True, blank=True, db_index=False, related_name="+"
    )
    count_at_reopening = models.PositiveIntegerField(
        default=0, help_text="Reopened by hand with this count: a full round more retires the subject again."
    )
    retired_at = models.DateTimeField(null=True, blank=True)
    retirement_reason = models.CharField(max_length=20, choices=RetirementReason.choices, blank=True)

    objects = SubjectProgressQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workflow", "subject"], name="progress_once_per_workflow")]
        indexes = [
            models.Index(
                fields=["workflow", "-priority", "pivot"],
                name="selection_by_priority",
                condition=Q(retired_at__isnull=True, is_held=False, is_withdrawn=False),
            ),
            models.Index(
                fields=["workflow", "pivot"],
                name="training_subjects",
                condition=Q(is_training=True, is_withdrawn=False),
            ),
        ]

    def __str__(self) -> str:
        return f"subject {self.subject_id} in workflow {self.workflow_id}"


class Lease(models.Model):
    """A subject in a volunteer's hands: handed out, not yet answered. It counts as a vote under way until it expires.

    Leases only spread volunteers: nothing depends on them but what is handed out next, so they are neither logged by
    PostgreSQL nor checked against the rows that they name, and losing them all costs nothing.
    """

    workflow = models.ForeignKey(
        Workflow, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="+"
    )
    subject = models.ForeignKey(
        Subject, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="+"
    )
    volunteer = models.ForeignKey(Volunteer, on_delete=models.CASCADE, db_constraint=False, related_name="+")
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workflow", "subject", "volunteer"], name="one_lease_each")]

    def __str__(self) -> str:
        return f"subject {self.subject_id} with volunteer {self.volunteer_id}"


class LiveFit(models.Model):
    """What a sweep learnt of the crowd, by which later votes are weighed as they come (classify/live.py).

    `parameters` holds the model of each task (aggregation/live.py). The fit in force is the workflow's newest complete
    one; the one before it is kept until the next, for requests that have begun with it.
    """

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="live_fits")
    workflow_version = models.ForeignKey(WorkflowVersion, on_delete=models.CASCADE, related_name="+")
    watermark = models.BigIntegerField(help_text="The last classification that it has seen.")
    parameters = models.JSONField()
    is_in_force = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workflow"], condition=Q(is_in_force=True), name="one_live_fit_in_force")
        ]

    def __str__(self) -> str:
        return f"fit {self.pk} of workflow {self.workflow_id}"


class VolunteerSkill(models.Model):
    """How one volunteer answers, by a live fit: task key → P(answer | true answer), a row per true answer."""

    fit = models.ForeignKey(LiveFit, on_delete=models.CASCADE, db_index=False, related_name="skills")
    volunteer = models.ForeignKey(Volunteer, on_delete=models.CASCADE, related_name="+")
    tasks = models.JSONField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["fit", "volunteer"], name="one_skill_per_fit")]

    def __str__(self) -> str:
        return f"skill of volunteer {self.volunteer_id} by fit {self.fit_id}"


class SubjectEvidence(models.Model):
    """What the votes up to a live fit's watermark say of one subject: task key → evidence (aggregation/live.py)."""

    fit = models.ForeignKey(LiveFit, on_delete=models.CASCADE, db_index=False, related_name="evidence")
    subject = models.ForeignKey(
        Subject, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="+"
    )
    tasks = models.JSONField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["fit", "subject"], name="one_evidence_per_fit")]

    def __str__(self) -> str:
        return f"evidence on subject {self.subject_id} by fit {self.fit_id}"


class Assessment(models.Model):
    """Under which rules and which fit a workflow's subjects were last looked at all together (classify/assessment.py).

    `version` and `fit` are those of the last finished pass; `started_at` is set while one is under way.
    """

    workflow = models.OneToOneField(Workflow, on_delete=models.CASCADE, related_name="assessment")
    version = models.ForeignKey(WorkflowVersion, on_delete=models.SET_NULL, null=True, related_name="+")
    fit = models.UUIDField(null=True)
    started_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    n_changed = models.PositiveIntegerField(default=0, help_text="Rows that the last finished pass changed.")
    error = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"assessment of workflow {self.workflow_id}"


class GoldStandard(models.Model):
    """Expert or simulated truth of one task for one subject; never sent before the volunteer has answered.

    `value` by task type: `single` → the answer index, or a list of accepted indices; `grade` → the letter, or a list of
    accepted letters (a simulated lens: `["A", "B", "C"]`); `multiple` → the sorted list of indices, all of them and no
    other; `boxes` → the list of true boxes, each to be marked once and nothing else (empty: nothing is there).
    Text has no gold standard. classify/feedback.py judges answers by it.
    """

    class Source(models.TextChoices):
        EXPERT = "expert", "Expert"
        SIMULATED = "simulated", "Simulated truth"

    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="gold_standards")
    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, related_name="gold_standards")
    task = models.CharField(max_length=40)
    value = models.JSONField()
    source = models.CharField(max_length=9, choices=Source.choices)
    give_feedback = models.BooleanField(default=True)
    right_message = models.CharField(max_length=300, blank=True)
    wrong_message = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["workflow", "subject", "task"], name="one_gold_standard_per_task")
        ]

    def __str__(self) -> str:
        return f"gold standard of subject {self.subject_id}, {self.task}"
