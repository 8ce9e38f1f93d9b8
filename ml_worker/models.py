"""Networks, the batches that run them over subjects, and what they said."""

from datetime import timedelta
from typing import Self

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Count, Q, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from starsieve.projects.models import Subject, SubjectSet, Workflow

HISTOGRAM_BINS = 20  # of width 0.05 over scores in [0, 1]
PATIENCE = timedelta(seconds=20)  # a worker that runs has taken a shard by then


def empty_histogram() -> list[int]:
    return [0] * HISTOGRAM_BINS


class ModelVersionQuerySet(models.QuerySet["ModelVersion"]):
    def named(self, name: str) -> Self:
        """Models called NAME, or the one called NAME:VERSION; newest first."""
        base, colon, version = name.rpartition(":")
        if colon and version.isascii() and version.isdigit() and len(version) < 10:
            return self.filter(name=base, version=int(version))
        return self.filter(name=name).order_by("-version")


class ModelVersion(models.Model):
    """One immutable set of network weights. `provenance` says honestly what it was trained on."""

    name = models.CharField(max_length=80)
    version = models.PositiveIntegerField()
    architecture = models.CharField(max_length=80)
    file = models.CharField(max_length=200, help_text="File name under MODEL_ROOT.")
    sha256 = models.CharField(max_length=64)
    provenance = models.TextField()
    metrics = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        ordering = ["name", "version"]
        constraints = [models.UniqueConstraint(fields=["name", "version"], name="model_name_and_version_unique")]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class JobState(models.TextChoices):
    PENDING = "pending", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


UNFINISHED = (JobState.PENDING, JobState.RUNNING)


class PrefilterBatchQuerySet(models.QuerySet["PrefilterBatch"]):
    def unfinished(self) -> Self:
        return self.filter(state__in=UNFINISHED)

    def with_progress(self) -> Self:
        """Newest first, each with its shards' sums: n_subjects, n_scored, n_unreadable, n_shards, n_done, n_failed."""
        return self.order_by("-pk").annotate(
            n_subjects=Coalesce(Sum("shards__n_subjects"), 0),
            n_scored=Coalesce(Sum("shards__n_scored"), 0),
            n_unreadable=Coalesce(Sum("shards__n_unreadable"), 0),
            n_shards=Count("shards"),
            n_done=Count("shards", filter=Q(shards__state=JobState.DONE)),
            n_failed=Count("shards", filter=Q(shards__state=JobState.FAILED)),
        )


class PrefilterBatch(models.Model):
    """A model run over the subjects of one set, for one workflow, with the policy that turns scores into routing.

    Subjects scoring at least `show_above` are shown, highest first; the rest are held, except a random
    `control_fraction` of them, which is shown so that completeness below the cut can be measured. Where
    `show_fraction` is given instead, `show_above` is empty until all scores are there and is then set to the score
    that lets this fraction of the subjects through.
    """

    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="prefilter_batches")
    subject_set = models.ForeignKey(SubjectSet, on_delete=models.CASCADE, related_name="prefilter_batches")
    model = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="batches")
    show_above = models.FloatField(null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(1)])
    show_fraction = models.FloatField(null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(1)])
    control_fraction = models.FloatField(default=0.05, validators=[MinValueValidator(0), MaxValueValidator(1)])
    shard_size = models.PositiveIntegerField(default=64, validators=[MinValueValidator(1), MaxValueValidator(100_000)])
    seed = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=9, choices=JobState.choices, default=JobState.PENDING)
    routing = models.JSONField(
        default=dict, blank=True, help_text='What the scores did: {"shown", "held", "control", "left_alone"}.'
    )
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = PrefilterBatchQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "prefilter batches"
        constraints = [
            models.CheckConstraint(
                condition=Q(show_above__isnull=False) | Q(show_fraction__isnull=False), name="batch_has_a_cut"
            )
        ]

    def __str__(self) -> str:
        return f"prefilter batch {self.pk}"

    @property
    def is_overlooked(self) -> bool:
        """No worker has taken a shard, though there was time enough: probably none is running."""
        return self.state == JobState.PENDING and timezone.now() - self.created_at > PATIENCE

    @property
    def is_finished(self) -> bool:
        return self.state not in UNFINISHED


class ShardQuerySet(models.QuerySet["Shard"]):
    def unfinished(self) -> Self:
        return self.filter(state__in=UNFINISHED)

    def worth_a_look_first(self) -> Self:
        """Failed ones first, then running, waiting, cancelled, done; within each by index."""
        order = [JobState.FAILED, JobState.RUNNING, JobState.PENDING, JobState.CANCELLED, JobState.DONE]
        rank = models.Case(*(models.When(state=state, then=place) for place, state in enumerate(order)))
        return self.annotate(rank=rank).order_by("rank", "index")

    def histogram(self) -> list[int]:
        """How many scores lie in each of the bins of width 1/HISTOGRAM_BINS over [0, 1], over these shards."""
        total = empty_histogram()
        for counts in self.order_by().values_list("histogram", flat=True).iterator():
            total = [a + b for a, b in zip(total, counts, strict=True)]
        return total


class Shard(models.Model):
    """The part of a batch that one Celery task scores: subjects of the set with first ≤ id ≤ last.

    `claim` is a random key that whoever scores the shard holds; every write of theirs is conditional on it, so that
    a process that was given up for lost and comes back cannot write over its successor.
    """

    batch = models.ForeignKey(PrefilterBatch, on_delete=models.CASCADE, related_name="shards")
    index = models.PositiveIntegerField()
    first_subject_id = models.BigIntegerField()
    last_subject_id = models.BigIntegerField()
    n_subjects = models.PositiveIntegerField()
    n_scored = models.PositiveIntegerField(default=0)
    n_unreadable = models.PositiveIntegerField(default=0)
    unreadable = models.JSONField(
        default=list, blank=True, help_text='The first of the unreadable stamps: [{"subject", "name", "reason"}].'
    )
    histogram = models.JSONField(default=empty_histogram, blank=True)
    state = models.CharField(max_length=9, choices=JobState.choices, default=JobState.PENDING)
    claim = models.UUIDField(null=True, blank=True, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0)
    enqueued_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    objects = ShardQuerySet.as_manager()

    class Meta:
        ordering = ["batch_id", "index"]
        constraints = [models.UniqueConstraint(fields=["batch", "index"], name="shard_index_unique_in_batch")]
        indexes = [
            models.Index(fields=["heartbeat_at"], name="running_shards", condition=Q(state="running")),
            models.Index(fields=["enqueued_at"], name="pending_shards", condition=Q(state="pending")),
        ]

    def __str__(self) -> str:
        return f"shard {self.index} of batch {self.batch_id}"

    @property
    def can_retry(self) -> bool:
        return self.state == JobState.FAILED or (self.state == JobState.DONE and self.n_unreadable > 0)


class PredictionQuerySet(models.QuerySet["Prediction"]):
    def of_shard(self, shard: Shard) -> Self:
        """What the shard's model has said so far about the shard's subjects."""
        return self.filter(
            model_id=shard.batch.model_id,
            subject__subject_set_id=shard.batch.subject_set_id,
            subject__id__range=(shard.first_subject_id, shard.last_subject_id),
        )


class Prediction(models.Model):
    """A model's calibrated score of one subject, in [0, 1]. Never a classification; aggregation decides its weight.

    Weights and stamps are immutable, so a score never changes: a later batch with the same model reuses it.
    """

    model = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="predictions")
    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, related_name="predictions")
    score = models.FloatField()
    created_at = models.DateTimeField(auto_now_add=True)

    objects = PredictionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["model", "subject"], name="one_prediction_per_model_and_subject"),
            models.CheckConstraint(condition=Q(score__gte=0) & Q(score__lte=1), name="score_between_0_and_1"),
        ]
        indexes = [models.Index(fields=["subject"], name="prediction_by_subject")]

    def __str__(self) -> str:
        return f"{self.model} scores subject {self.subject_id} {self.score:.3f}"
