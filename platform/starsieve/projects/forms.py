"""Forms of the projects' pages."""

from typing import TYPE_CHECKING, Any

from django import forms

from starsieve.accounts.models import User
from starsieve.projects.definitions import DefinitionError, parse_definition, read_definition
from starsieve.projects.models import Membership, Origin, Project, SubjectSet, Workflow
from starsieve.projects.services import Refused
from starsieve.projects.stretches import STRETCHES
from starsieve.projects.tutorials import TutorialError, tutorial_steps, tutorial_text
from starsieve.projects.workflow_templates import TEMPLATES

if TYPE_CHECKING:  # Django's own class takes no subscript
    ProjectModelForm = forms.ModelForm[Project]
else:
    ProjectModelForm = forms.ModelForm

LARGEST_UPLOAD = 200 * 1024 * 1024
LONGEST_TEXT = 20_000


class RefusableForm(forms.Form):
    """A form that can show a service's refusal beside the field that it names."""

    def refuse(self, error: Refused) -> None:
        sentence = f"{error.message[:1].upper()}{error.message[1:]}."
        self.add_error(error.field if error.field in self.fields else None, sentence)


class NewProjectForm(RefusableForm):
    title = forms.CharField(max_length=120)
    slug = forms.SlugField(
        max_length=60, label="Address", help_text="Letters, digits and hyphens; the project lives at /projects/…/."
    )
    summary = forms.CharField(max_length=240, help_text="One sentence on the project's card.")
    template = forms.ChoiceField(
        choices=[(template.key, template.name) for template in TEMPLATES.values()], widget=forms.RadioSelect
    )


class SettingsForm(ProjectModelForm):
    # Bounded, because every visitor's look at the project's page renders them.
    description = forms.CharField(
        required=False,
        max_length=LONGEST_TEXT,
        widget=forms.Textarea(attrs={"rows": 10}),
        help_text="Markdown: what is asked, and why.",
    )
    data_note = forms.CharField(
        required=False,
        max_length=LONGEST_TEXT,
        label="Where the pixels come from",
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="Markdown: where the pixels come from, what is real and what is simulated.",
    )
    tutorial = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 16}),
        help_text="Markdown. Every line “## Title” begins a step; a last line ![](path) shows a picture of the media "
        "storage.",
    )

    class Meta:
        model = Project
        fields = ["title", "summary", "description", "data_note", "tutorial", "status", "is_public", "grading_by"]
        labels = {
            "is_public": "Everyone may see this project",
            "grading_by": "Who may grade",
        }
        help_texts = {
            "is_public": "A project that is not public exists for its members only.",
            "grading_by": "Concerns workflows with a grade task.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["tutorial"] = tutorial_text(self.instance.tutorial)

    def clean_tutorial(self) -> list[dict[str, str]]:
        try:
            return tutorial_steps(self.cleaned_data["tutorial"])
        except TutorialError as error:
            raise forms.ValidationError(str(error)) from None


class AddMemberForm(RefusableForm):
    # By user name alone: anybody may make a project, and must not learn from it which addresses have accounts.
    person = forms.CharField(max_length=150, label="User name")
    role = forms.ChoiceField(choices=Membership.Role.choices, initial=Membership.Role.VOLUNTEER)

    def clean_person(self) -> User:
        text = self.cleaned_data["person"].strip()
        person = User.objects.filter(username__iexact=text, is_active=True).first()
        if person is None:
            raise forms.ValidationError("There is no account of that name; ask the person for their user name.")
        return person


class RoleForm(RefusableForm):
    role = forms.ChoiceField(choices=Membership.Role.choices)


class UploadForm(RefusableForm):
    archive = forms.FileField(
        label="ZIP archive",
        help_text="One manifest (.csv or .jsonl) and the pictures that it names: .png, .jpg or .fits; at most 200 MB.",
        widget=forms.ClearableFileInput(attrs={"accept": ".zip,application/zip"}),
    )
    subject_set = forms.CharField(max_length=120, label="Into the set", help_text="A new name makes a new set.")
    origin = forms.ChoiceField(
        choices=Origin.choices,
        initial=Origin.REAL,
        help_text="Simulated pixels are marked as such wherever they appear.",
    )
    stretch = forms.ChoiceField(
        choices=[(name, name) for name in STRETCHES], initial="asinh", help_text="How FITS pixels become a picture."
    )

    def clean_archive(self) -> Any:
        archive = self.cleaned_data["archive"]
        if archive.size > LARGEST_UPLOAD:
            raise forms.ValidationError(
                f"The archive is larger than {LARGEST_UPLOAD // 2**20} MB; split it, or use import_subjects."
            )
        return archive


class LinkForm(RefusableForm):
    """Link a set to a workflow of the same project, or take the link away."""

    workflow = forms.ModelChoiceField(Workflow.objects.none())
    subject_set = forms.ModelChoiceField(SubjectSet.objects.none())

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, rows in (("workflow", project.workflows.all()), ("subject_set", project.subject_sets.all())):
            field = self.fields[name]
            assert isinstance(field, forms.ModelChoiceField)
            field.queryset = rows


class NewWorkflowForm(RefusableForm):
    name = forms.CharField(max_length=120)
    template = forms.ChoiceField(choices=[(template.key, template.name) for template in TEMPLATES.values()])


class DefinitionForm(RefusableForm):
    """A workflow's definition as JSON text. `problems` lists what is wrong with it, each with its place."""

    definition = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 30, "spellcheck": "false", "class": "code-input"}), strip=False
    )
    retirement_count = forms.IntegerField(
        min_value=1,
        max_value=10_000,
        required=False,
        label="Retire a subject after this many classifications",
        help_text="Takes the place of classification_count in the definition; empty leaves it as the definition says.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.problems: list[tuple[str, str]] = []

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "definition" not in cleaned or "retirement_count" not in cleaned:
            return cleaned
        count = cleaned["retirement_count"]
        try:
            data = read_definition(cleaned["definition"])
            if count is not None and isinstance(data, dict) and isinstance(data.get("retirement"), dict):
                data["retirement"]["classification_count"] = count
            parse_definition(data)
            cleaned["definition"] = data
        except DefinitionError as error:
            self.problems = error.problems
            self.add_error("definition", "The definition has problems; they are listed above.")
        return cleaned
