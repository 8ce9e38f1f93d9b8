"""Networks, the batches that run them over subjects, and what they said."""

from typing import Self

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from starsieve.projects.models import Subject, SubjectSet, Workflow


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


class PrefilterBatchQuerySet(models.QuerySet["PrefilterBatch"]):
    def unfinished(self) -> Self:
        return self.filter(state__in=[JobState.PENDING, JobState.RUNNING])


class PrefilterBatch(models.Model):
    """A model run over the subjects of one set, for one workflow, with the policy that turns scores into routing.

    Subjects scoring at least `show_above` are shown, highest first; the rest are held, except a random
    `control_fraction` of them, which is shown so that completeness below the cut can be measured.
    """

    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="prefilter_batches")
    subject_set = models.ForeignKey(SubjectSet, on_delete=models.CASCADE, related_name="prefilter_batches")
    model = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="batches")
    show_above = models.FloatField(validators=[MinValueValidator(0), MaxValueValidator(1)])
    control_fraction = models.FloatField(default=0.05, validators=[MinValueValidator(0), MaxValueValidator(1)])
    shard_size = models.PositiveIntegerField(default=64, validators=[MinValueValidator(1), MaxValueValidator(100_000)])
    seed = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=9, choices=JobState.choices, default=JobState.PENDING)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = PrefilterBatchQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"prefilter batch {self.pk}"


class Shard(models.Model):
    """The part of a batch that one Celery task scores: subjects of the set with first ≤ id ≤ last."""

    batch = models.ForeignKey(PrefilterBatch, on_delete=models.CASCADE, related_name="shards")
    index = models.PositiveIntegerField()
    first_subject_id = models.BigIntegerField()
    last_subject_id = models.BigIntegerField()
    n_subjects = models.PositiveIntegerField()
    n_scored = models.PositiveIntegerField(default=0)
    n_unreadable = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=9, choices=JobState.choices, default=JobState.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["batch_id", "index"]
        constraints = [models.UniqueConstraint(fields=["batch", "index"], name="shard_index_unique_in_batch")]
        indexes = [models.Index(fields=["heartbeat_at"], name="running_shards", condition=Q(state="running"))]

    def __str__(self) -> str:
        return f"shard {self.index} of batch {self.batch_id}"


class Prediction(models.Model):
    """A model's calibrated score of one subject, in [0, 1]. Never a classification; aggregation decides its weight."""

    model = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="predictions")
    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, related_name="predictions")
    score = models.FloatField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["model", "subject"], name="one_prediction_per_model_and_subject")
        ]
        indexes = [models.Index(fields=["subject"], name="prediction_by_subject")]

    def __str__(self) -> str:
        return f"{self.model} scores subject {self.subject_id} {self.score:.3f}"
