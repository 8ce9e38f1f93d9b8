"""Releases: frozen editions of a workflow's catalogue."""

from django.conf import settings as django_settings
from django.db import models

from ml_worker.models import JobState
from starsieve.projects.models import Workflow


class Release(models.Model):
    """Everything needed to write the same bytes again: watermark, settings, models, and the sums of its files."""

    workflow = models.ForeignKey(Workflow, on_delete=models.PROTECT, related_name="releases")
    number = models.PositiveIntegerField()
    watermark = models.PositiveBigIntegerField(help_text="Id of the last classification that counts.")
    settings = models.JSONField(default=dict)
    provenance = models.JSONField(default=dict)
    files = models.JSONField(default=list, help_text='[{"name", "sha256", "bytes"}]')
    state = models.CharField(max_length=9, choices=JobState.choices, default=JobState.PENDING)
    error = models.TextField(blank=True)
    created_by = models.ForeignKey(django_settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["workflow", "number"], name="release_number_unique_in_workflow")]

    def __str__(self) -> str:
        return f"release {self.number} of {self.workflow}"
