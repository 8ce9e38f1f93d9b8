"""Projects, workflows and their immutable versions, subject sets, subjects."""

from typing import Self

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from starsieve.projects.definitions import WorkflowDefinition, parse_definition


class Origin(models.TextChoices):
    """Whether pixels come from a telescope or from a simulator; shown wherever the pixels are."""

    REAL = "real", "Real"
    SIMULATED = "simulated", "Simulated"


class ProjectQuerySet(models.QuerySet["Project"]):
    def public(self) -> Self:
        return self.filter(is_public=True).exclude(status=Project.Status.DRAFT)


class Project(models.Model):
    class Status(models.TextChoices):
        DRAFT = "draft", "Draft"
        LIVE = "live", "Live"
        PAUSED = "paused", "Paused"
        FINISHED = "finished", "Finished"

    class GradingBy(models.TextChoices):
        EVERYONE = "everyone", "Everyone"
        EXPERTS = "experts", "Experts only"

    slug = models.SlugField(max_length=60, unique=True)
    title = models.CharField(max_length=120)
    summary = models.CharField(max_length=240, help_text="One sentence on the project's card.")
    description = models.TextField(blank=True, help_text="Markdown; what is asked and why.")
    data_note = models.TextField(
        blank=True, help_text="Markdown; where the pixels come from, what is real and what is simulated."
    )
    tutorial = models.JSONField(
        default=list, blank=True, help_text='A list of steps: {"title": …, "text": …, "image": …}.'
    )
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.DRAFT)
    is_public = models.BooleanField(default=True)
    grading_by = models.CharField(max_length=8, choices=GradingBy.choices, default=GradingBy.EVERYONE)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.title


class Membership(models.Model):
    """A person's role in one project. What each role may do: projects/permissions.py."""

    class Role(models.TextChoices):
        OWNER = "owner", "Owner"
        SCIENTIST = "scientist", "Scientist"
        EXPERT = "expert", "Expert"
        MODERATOR = "moderator", "Moderator"
        TESTER = "tester", "Tester"
        VOLUNTEER = "volunteer", "Volunteer"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["project", "user"], name="one_role_per_project_and_user")]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.project}"


class SubjectSet(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="subject_sets")
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    origin = models.CharField(max_length=9, choices=Origin.choices, default=Origin.REAL)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="subject_set_name_unique_in_project")]

    def __str__(self) -> str:
        return self.name


class Subject(models.Model):
    """What is classified: one or more frames (pictures of the same sky) with metadata.

    `frames` is a list of {"path", "width", "height", "band", "stretch"}: path in the media storage, size in pixels.
    `metadata` is shown to volunteers; `hidden_metadata` never leaves the server except in a scientist's export.
    `wcs` holds FITS header cards of the first frame's world coordinates (CTYPE1, CRPIX1, CD1_1 …), pixels counted
    from the top-left corner as on screen.
    """

    # The unique names begin with the project: no index of its own.
    project = models.ForeignKey(Project, on_delete=models.CASCADE, db_index=False, related_name="subjects")
    subject_set = models.ForeignKey(SubjectSet, on_delete=models.CASCADE, related_name="subjects")
    name = models.CharField(max_length=200)
    frames = models.JSONField()
    metadata = models.JSONField(default=dict, blank=True)
    hidden_metadata = models.JSONField(default=dict, blank=True)
    origin = models.CharField(max_length=9, choices=Origin.choices, default=Origin.REAL)
    ra = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(360)],
        help_text="ICRS, degrees",
    )
    dec = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(-90), MaxValueValidator(90)],
        help_text="ICRS, degrees",
    )
    wcs = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="subject_name_unique_in_project")]

    def __str__(self) -> str:
        return self.name


class SubjectImport(models.Model):
    """What one import did, kept so that the scientist finds the rejected rows again."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="imports")
    subject_set = models.ForeignKey(SubjectSet, on_delete=models.CASCADE, related_name="imports")
    source = models.CharField(max_length=255, help_text="The file that was read.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="Empty for an import from the command line.",
    )
    created_count = models.PositiveIntegerField()
    unchanged_count = models.PositiveIntegerField()
    rejected_count = models.PositiveIntegerField()
    rejects = models.JSONField(
        default=list, blank=True, help_text='The first rejected rows: {"row": …, "name": …, "column": …, "message": …}.'
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"import of {self.source} into {self.subject_set}"


class Workflow(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="workflows")
    name = models.CharField(max_length=120)
    is_active = models.BooleanField(default=True)
    subject_sets = models.ManyToManyField(SubjectSet, related_name="workflows", blank=True)
    current = models.ForeignKey(
        "WorkflowVersion", on_delete=models.PROTECT, null=True, blank=True, related_name="+", editable=False
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="workflow_name_unique_in_project")]

    def __str__(self) -> str:
        return self.name


class WorkflowVersion(models.Model):
    """One immutable definition. The major number rises when tasks change, the minor one when only texts do."""

    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="versions")
    major = models.PositiveIntegerField()
    minor = models.PositiveIntegerField()
    definition = models.JSONField()
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["workflow_id", "major", "minor"]
        constraints = [models.UniqueConstraint(fields=["workflow", "major", "minor"], name="workflow_version_unique")]

    def __str__(self) -> str:
        return self.number

    @property
    def number(self) -> str:
        return f"{self.major}.{self.minor}"

    @property
    def parsed(self) -> WorkflowDefinition:
        return parse_definition(self.definition)
