"""What a person chooses for a release."""

from typing import Any

from django import forms

from starsieve.catalogues.release_settings import FORMATS, METHODS, ReleaseSettings, SettingsProblem

LABELS = {"csv": "CSV", "parquet": "Parquet", "fits": "FITS table", "votable": "VOTable"}


class ReleaseForm(forms.Form):
    method = forms.ChoiceField(choices=[(name, f"{name}: {text}") for name, text in METHODS.items()])
    formats = forms.MultipleChoiceField(
        choices=[(name, LABELS[name]) for name in FORMATS],
        initial=list(FORMATS),
        widget=forms.CheckboxSelectMultiple,
    )
    include_classifications = forms.BooleanField(
        required=False,
        label="Add every single answer (classifications.csv)",
        help_text="Volunteers appear as pseudonyms of this release only. "
        "Only people who may make releases can download this file.",
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not self.errors:
            try:
                data["settings"] = ReleaseSettings.of(
                    method=data["method"],
                    formats=data["formats"],
                    include_classifications=data["include_classifications"],
                )
            except SettingsProblem as problem:
                self.add_error(problem.field, problem.message)
        return data
