"""Releases: frozen editions of a workflow's catalogue. And what is derived: consensus runs, snapshots, what the subject
table of the results is sorted by.
"""

from datetime import timedelta
from typing import Self

from django.conf import settings as django_settings
from django.db import models
from django.db.models import Q, Sum
from django.utils import timezone

from classify.models import SubjectProgress
from ml_worker.models import UNFINISHED, JobState, ModelVersion
from starsieve.projects.models import Subject, Workflow, WorkflowVersion

LOST_AFTER = timedelta(minutes=5)


class ReleaseQuerySet(models.QuerySet["Release"]):
    def done(self) -> Self:
        return self.filter(state=JobState.DONE)

    def lost(self) -> Self:
        """Waiting or running releases that nobody has worked on for a while: the message or the process is gone."""
        silent_since = timezone.now() - LOST_AFTER
        return self.filter(
            Q(state=JobState.RUNNING, heartbeat_at__lt=silent_since)
            | Q(state=JobState.PENDING, created_at__lt=silent_since)
            & (Q(heartbeat_at=None) | Q(heartbeat_at__lt=silent_since))
        )


class Release(models.Model):
    """Everything needed to write the same bytes again: watermark, version, settings, frozen subjects, and the sums
    of its files. Classifications with id ≤ `watermark` count.
    """

    workflow = models.ForeignKey(Workflow, on_delete=models.PROTECT, related_name="releases")
    workflow_version = models.ForeignKey(WorkflowVersion, on_delete=models.PROTECT, related_name="+")
    number = models.PositiveIntegerField()
    watermark = models.PositiveBigIntegerField(help_text="Id of the last classification that counts.")
    frozen_at = models.DateTimeField(help_text="When the watermark was read; later retirements do not count.")
    second_looks = models.JSONField(
        default=list,
        help_text="Ids of classifications that did not count then: the same person had classified the subject before.",
    )
    salt = models.CharField(max_length=64, help_text="Turns volunteers into pseudonyms; never sent.")
    settings = models.JSONField(default=dict)
    provenance = models.JSONField(default=dict)
    files = models.JSONField(default=list, help_text='[{"name", "sha256", "bytes"}]')
    state = models.CharField(max_length=9, choices=JobState.choices, default=JobState.PENDING)
    error = models.TextField(blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    n_written = models.PositiveIntegerField(default=0, help_text="Subjects written so far.")
    created_by = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+",
        help_text="Empty: made on the command line, or by someone who has left.",
    )  # fmt: skip
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = ReleaseQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["workflow", "number"], name="release_number_unique_in_workflow")]

    def __str__(self) -> str:
        return f"release {self.number} of {self.workflow}"


class FrozenSubject(models.Model):
    """One subject as a release saw it: what can change afterwards and is not in its classifications."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="subjects")
    subject = models.ForeignKey(Subject, on_delete=models.PROTECT, related_name="+")
    retirement_reason = models.CharField(max_length=20, blank=True, help_text="Empty: not retired.")
    is_control = models.BooleanField()
    ml_score = models.FloatField(null=True, blank=True)
    ml_model = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    gold = models.JSONField(null=True, blank=True, help_text="Task key → gold standard; empty: it has none.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["release", "subject"], name="subject_once_per_release")]

    def __str__(self) -> str:
        return f"subject {self.subject_id} in release {self.release_id}"


class ConsensusRunQuerySet(models.QuerySet["ConsensusRun"]):
    def done(self) -> Self:
        return self.filter(state=JobState.DONE)

    def unfinished(self) -> Self:
        return self.filter(state__in=UNFINISHED)

    def lost(self) -> Self:
        """Unfinished runs that nobody has worked on for a while; a split one is kept going shard by shard."""
        silent_since = timezone.now() - LOST_AFTER
        return (
            self.unfinished()
            .filter(split=None)
            .filter(Q(heartbeat_at__lt=silent_since) | Q(heartbeat_at=None, created_at__lt=silent_since))
        )

    def latest_done(self, workflow: Workflow) -> "ConsensusRun | None":
        """The run whose numbers the workflow's pages show: the last one that was finished."""
        return self.done().filter(workflow=workflow).order_by("-id").first()


class ConsensusRun(models.Model):
    """The models of a workflow's tasks fitted to all classifications with id ≤ `watermark`; derived from them.

    `tasks` maps task key → {"fit": how the fit went, "judgement": its worth by the gold standard, or null}.
    """

    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="consensus_runs")
    workflow_version = models.ForeignKey(WorkflowVersion, on_delete=models.PROTECT, related_name="+")
    watermark = models.PositiveBigIntegerField(default=0, help_text="Id of the last classification that counted.")
    n_classifications = models.PositiveIntegerField(default=0, help_text="Classifications that counted.")
    n_read = models.PositiveBigIntegerField(default=0, help_text="Classifications up to the watermark, of any version.")
    tasks = models.JSONField(default=dict)
    state = models.CharField(max_length=9, choices=JobState.choices, default=JobState.PENDING)
    error = models.TextField(blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+",
        help_text="Empty: started by the schedule or on the command line.",
    )  # fmt: skip
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = ConsensusRunQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["workflow"], condition=Q(state__in=UNFINISHED), name="one_unfinished_consensus_run"
            )
        ]

    def __str__(self) -> str:
        return f"consensus run {self.pk} of {self.workflow}"


class SubjectConsensus(models.Model):
    """What a run says of one subject; of a gold subject, what the votes alone say, so that nobody learns the gold.

    `tasks` maps task key → {"n": votes, "p": probability of each answer, "answer", and what else the method knows:
    "reach" of a question in a tree, "expected_grade", "rank", "rank_error" and "adjudicate" of a grade}.
    """

    run = models.ForeignKey(ConsensusRun, on_delete=models.CASCADE, related_name="subjects")
    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, related_name="+")
    tasks = models.JSONField()
    marks = models.JSONField(default=dict, help_text="Task key → marks as they were drawn, and who drew them.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "subject"], name="consensus_once_per_run")]

    def __str__(self) -> str:
        return f"consensus on subject {self.subject_id}"


class ConsensusSplit(models.Model):
    """A run that is divided into shards of subjects over the workers (consensus/split.py); gone when the run ends.

    Groups of tasks are fitted one after the other, each in rounds: every shard answers what is asked, and the answers
    of all of them make the next round.
    """

    run = models.OneToOneField(ConsensusRun, on_delete=models.CASCADE, primary_key=True, related_name="split")
    n_shards = models.PositiveSmallIntegerField()
    gold = models.JSONField(help_text="[subject id, task key, value] as they were when the run began.")
    group = models.PositiveSmallIntegerField(default=0, help_text="Place of the group of tasks that is fitted now.")
    round = models.PositiveIntegerField(default=0, help_text="Counted over all groups.")
    last_rounds = models.JSONField(default=list, help_text="Of the groups that are fitted: the round that ended each.")

    def __str__(self) -> str:
        return f"split of {self.run}"


class ConsensusShardQuerySet(models.QuerySet["ConsensusShard"]):
    def unfinished(self) -> Self:
        return self.filter(state__in=UNFINISHED)


class ConsensusShard(models.Model):
    """The subjects of a split run whose hash is `place`, and where they are in its round.

    `claim` is held by the process that works on it now, `holder` names the one that has its votes in memory. The shard
    at the place `n_shards` has no subjects: it is the end of the run, when all is fitted and has to be stored.
    """

    split = models.ForeignKey(ConsensusSplit, on_delete=models.CASCADE, related_name="shards")
    place = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=9, choices=JobState.choices, default=JobState.PENDING)
    claim = models.UUIDField(null=True, blank=True)
    holder = models.CharField(max_length=300, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="In this round.")
    enqueued_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    n_classifications = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: not read yet.")
    checksum = models.CharField(max_length=64, blank=True, help_text="Of its votes, which must not change in mid-run.")
    error = models.TextField(blank=True)

    objects = ConsensusShardQuerySet.as_manager()

    class Meta:
        ordering = ["place"]
        constraints = [models.UniqueConstraint(fields=["split", "place"], name="one_consensus_shard_per_place")]

    def __str__(self) -> str:
        return f"shard {self.place} of consensus run {self.split_id}"


class ConsensusBlock(models.Model):
    """A part of what a split run's shards are asked in a round, or of what one answers (consensus/blocks.py)."""

    split = models.ForeignKey(ConsensusSplit, on_delete=models.CASCADE, related_name="blocks")
    round = models.PositiveIntegerField()
    name = models.CharField(max_length=20)
    place = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["split", "round", "name", "place"], name="consensus_blocks_do_not_overlap")
        ]

    def __str__(self) -> str:
        return f"{self.name} of round {self.round}, part {self.place}, of consensus run {self.split_id}"


class SubjectDisagreement(models.Model):
    """How little the volunteers agree about one subject, 0 (all alike) to 1; derived, so that it can be sorted by.

    `n_classifications` says how many classifications it was computed from: where that differs from the progress
    row's count, it is due again (catalogues.services.refresh_disagreement).
    """

    progress = models.OneToOneField(
        SubjectProgress, on_delete=models.CASCADE, primary_key=True, related_name="disagreement"
    )
    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="+")
    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, related_name="+")
    n_classifications = models.PositiveIntegerField()
    value = models.FloatField()

    class Meta:
        indexes = [models.Index(fields=["workflow", "-value", "subject"], name="most_disputed")]

    def __str__(self) -> str:
        return f"disagreement {self.value:.2f} about subject {self.subject_id}"


class SnapshotQuerySet(models.QuerySet["Snapshot"]):
    def rows_in(self, workflow: Workflow) -> int:
        """Classifications in the workflow's snapshot."""
        return SnapshotPart.objects.filter(snapshot__workflow=workflow).aggregate(n=Sum("n_rows"))["n"] or 0


class Snapshot(models.Model):
    """A workflow's classifications in columns on disk, up to `watermark`; derived from them (catalogues/snapshots/).

    `epoch` grows whenever what was written no longer holds: who reads or appends under an older one has to stop.
    """

    workflow = models.OneToOneField(Workflow, on_delete=models.CASCADE, primary_key=True, related_name="snapshot")
    epoch = models.PositiveIntegerField(default=0)
    layout = models.CharField(max_length=64, help_text="Fingerprint of the columns that the parts have.")
    watermark = models.PositiveBigIntegerField(
        default=0, help_text="The parts hold every classification of the workflow up to this id."
    )
    refreshed_at = models.DateTimeField(null=True, blank=True)

    objects = SnapshotQuerySet.as_manager()

    def __str__(self) -> str:
        return f"snapshot of {self.workflow}"


class SnapshotPart(models.Model):
    """One file of a snapshot, never changed: the classifications with `after_id` < id ≤ `up_to_id`."""

    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="parts")
    name = models.CharField(max_length=60, unique=True)
    after_id = models.PositiveBigIntegerField()
    up_to_id = models.PositiveBigIntegerField()
    n_rows = models.PositiveIntegerField()
    n_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        ordering = ["up_to_id"]
        constraints = [models.UniqueConstraint(fields=["snapshot", "up_to_id"], name="snapshot_parts_do_not_overlap")]

    def __str__(self) -> str:
        return f"classifications {self.after_id + 1} to {self.up_to_id} of {self.snapshot}"
