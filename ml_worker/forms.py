"""The form that launches a prefilter batch."""

from typing import Any

from django import forms
from django.db.models import Count

from ml_worker.models import ModelVersion
from ml_worker.services import LARGEST_SEED, LARGEST_SHARD
from starsieve.projects.models import Project, SubjectSet, Workflow


class LaunchForm(forms.Form):
    target = forms.ChoiceField(label="Subjects", help_text="A workflow and one of its subject sets.")
    model = forms.ModelChoiceField(ModelVersion.objects.order_by("name", "-version"), empty_label=None)
    show_above = forms.FloatField(
        label="Show scores from",
        required=False,
        min_value=0,
        max_value=1,
        widget=forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"}),
        help_text="Between 0 and 1. Subjects that score less are held back.",
    )
    show_fraction = forms.FloatField(
        label="… or show the best part",
        required=False,
        min_value=0,
        max_value=1,
        widget=forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"}),
        help_text="0.1 shows the best-scoring tenth, whatever its scores.",
    )
    control_fraction = forms.FloatField(
        label="Control sample",
        initial=0.05,
        min_value=0,
        max_value=1,
        widget=forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"}),
        help_text="The random part of the rest that is shown nevertheless, to measure what the cut loses.",
    )
    shard_size = forms.IntegerField(
        label="Subjects per shard",
        initial=64,
        min_value=1,
        max_value=LARGEST_SHARD,
        help_text="One task of the worker scores one shard.",
    )
    seed = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=LARGEST_SEED,
        help_text="Decides which subjects are the control sample; drawn when empty.",
    )

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pairs = linked_pairs(project)
        target = self.fields["target"]
        if isinstance(target, forms.ChoiceField):
            target.choices = [(key, label) for key, (_, _, label) in self.pairs.items()]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        given = [data.get("show_above") is not None, data.get("show_fraction") is not None]
        if sum(given) != 1 and not (self.errors.keys() & {"show_above", "show_fraction"}):
            self.add_error("show_above", "Give either a score or a part to show, not both.")
        return data

    def arguments(self) -> dict[str, Any]:
        """What launch_prefilter_batch takes, but for the user."""
        data = dict(self.cleaned_data)
        workflow, subject_set, _ = self.pairs[data.pop("target")]
        return data | {"workflow": workflow, "subject_set": subject_set}


def linked_pairs(project: Project) -> dict[str, tuple[Workflow, SubjectSet, str]]:
    """Every workflow of the project with each of its sets, as form value → (workflow, set, label)."""
    sets = {s.pk: s for s in project.subject_sets.annotate(n_subjects=Count("subjects"))}
    pairs: dict[str, tuple[Workflow, SubjectSet, str]] = {}
    for workflow in project.workflows.prefetch_related("subject_sets"):
        for linked in workflow.subject_sets.all():
            subject_set = sets[linked.pk]
            label = f"{workflow.name}: {subject_set.name} ({subject_set.n_subjects})"
            pairs[f"{workflow.pk}-{subject_set.pk}"] = (workflow, subject_set, label)
    return pairs
