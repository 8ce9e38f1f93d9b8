"""What a release says about where its numbers come from. Nothing here depends on when it was written."""

from importlib.metadata import version
from typing import Any

from django.conf import settings

from ml_worker.models import ModelVersion
from starsieve.catalogues.ledger import Ledger
from starsieve.catalogues.models import Release
from starsieve.catalogues.release_settings import METHODS

WRITTEN_WITH = ("numpy", "pyarrow", "astropy")
STATEMENTS = {
    (True, False): "All subjects are real: their pixels come from a telescope.",
    (False, True): "All subjects are simulated: no row of this catalogue is an object on the sky.",
    (True, True): "Some subjects are simulated; the column origin tells which. Leave them out of any science sample.",
    (False, False): "There are no subjects.",
}


def provenance_of(release: Release, ledger: Ledger, models: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What went in. `models` are the fits of the tasks' models and what gold says of them; `release.provenance` holds
    what make_release froze, and all of it once the release has been built.
    """
    written_with = (*WRITTEN_WITH, "scipy") if models else WRITTEN_WITH
    workflow, current, frozen = release.workflow, release.workflow_version, release.provenance
    real, simulated = ledger.origins["real"], ledger.origins["simulated"]
    at = ledger.last_classification_at
    return {
        "project": frozen["project"],
        "workflow": {**frozen["workflow"], "id": workflow.pk, "version": current.number,
                     "definition": current.definition},
        "watermark": release.watermark,
        "last_classification_at": at.isoformat() if at else None,
        "n_subjects": ledger.n_subjects,
        "n_classifications": ledger.n_classifications,
        # A visitor who has signed in since is one volunteer less; what was published stays.
        "n_volunteers": frozen.get("n_volunteers", len(ledger.volunteers)),
        "classifications_by_version": dict(sorted(ledger.versions.items())),
        "classifications_of_other_questions": dict(sorted(ledger.not_counted.items())),
        "origin": {"real": real, "simulated": simulated, "statement": STATEMENTS[real > 0, simulated > 0]},
        "settings": release.settings,
        "method": METHODS[release.settings["method"]],
        **({"consensus": models} if models else {}),
        "models": [_model(model) for model in ModelVersion.objects.filter(pk__in=ledger.model_ids).order_by("pk")],
        "inputs_sha256": ledger.sha256,
        "software": {"starsieve": settings.VERSION, **{name: version(name) for name in written_with}},
    }  # fmt: skip


def _model(model: ModelVersion) -> dict[str, Any]:
    return {
        "name": model.name, "version": model.version, "architecture": model.architecture, "sha256": model.sha256,
        "provenance": model.provenance,
    }  # fmt: skip
