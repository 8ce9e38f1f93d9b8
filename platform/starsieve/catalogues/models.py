"""Releases: frozen editions of a workflow's catalogue. And what the subject table of the results is sorted by."""

from datetime import timedelta
from typing import Self

from django.conf import settings as django_settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from classify.models import SubjectProgress
from ml_worker.models import JobState, ModelVersion
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

    class Meta:
        constraints = [models.UniqueConstraint(fields=["release", "subject"], name="subject_once_per_release")]

    def __str__(self) -> str:
        return f"subject {self.subject_id} in release {self.release_id}"


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
