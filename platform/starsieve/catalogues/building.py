"""Writing a release's files: one pass over the subjects into the base tables, then format by format.

Everything is written into a folder beside the release's own, which takes its place when all is done: a release has
either all of its files or those it had before.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from starsieve.catalogues.by_subject import COLUMNS, BySubject
from starsieve.catalogues.clumps import clump_columns, clumps_of
from starsieve.catalogues.columns import layout_of
from starsieve.catalogues.consensus.subjects import SubjectTable
from starsieve.catalogues.files import SUMS, release_folder
from starsieve.catalogues.frozen import frozen_ids
from starsieve.catalogues.ledger import Ledger
from starsieve.catalogues.models import Release
from starsieve.catalogues.provenance import provenance_of
from starsieve.catalogues.reduction import Reduced, fit_models, reduced_subjects
from starsieve.catalogues.release_settings import ReleaseSettings
from starsieve.catalogues.rows import subject_columns
from starsieve.catalogues.snapshots.reading import read_snapshot
from starsieve.catalogues.snapshots.state import count_up_to
from starsieve.catalogues.tidy import TidyClassifications
from starsieve.catalogues.writers import SUFFIXES, WRITERS, BaseTable, TableInfo
from starsieve.projects.task_types import BoxesTask, TextTask

OnProgress = Callable[[int], None]


class Built(NamedTuple):
    files: list[dict[str, Any]]
    provenance: dict[str, Any]


class ReleaseChanged(Exception):
    """Building a finished release again gave other bytes than the ones it was published with."""


def build_files(release: Release, *, on_progress: OnProgress) -> Built:
    """Write all files of the release into its folder. `on_progress` is called with the subjects done so far.

    Raises ReleaseChanged, and leaves the folder alone, if the release has published sums that these files do not have.
    """
    folder = release_folder(release)
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".building-{release.pk}-", dir=folder.parent))
    try:
        built = _write_all(release, work, on_progress)
        _compare(release, built)
        if folder.exists():
            shutil.rmtree(folder)
        work.chmod(0o755)
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return built


def _write_all(release: Release, work: Path, on_progress: OnProgress) -> Built:
    chosen = ReleaseSettings.from_json(release.settings)
    ledger = Ledger()
    stored = _sort(release, work / ".classifications", on_progress)
    models = fit_models(release, stored) if chosen.method == "consensus" else None
    tables = _Tables(release, chosen, work, models.subjects if models else None)
    with tables:
        for chunk in reduced_subjects(release, stored, ledger):
            tables.append(chunk)
            on_progress(ledger.n_subjects)
    stored.path.unlink()
    for table in tables.tables:
        for name in chosen.formats:
            WRITERS[name](table, str(work / f"{table.info.name}.{SUFFIXES[name]}"))
        Path(table.path).unlink()
    provenance = provenance_of(release, ledger, models.tasks if models else {})
    text = json.dumps(provenance, indent=2, sort_keys=True, ensure_ascii=False)
    (work / "provenance.json").write_text(text + "\n", encoding="utf-8")
    files = [file_entry(path) for path in sorted(work.iterdir())]
    (work / SUMS).write_text("".join(f"{entry['sha256']}  {entry['name']}\n" for entry in files))
    return Built([*files, file_entry(work / SUMS)], provenance)


def _sort(release: Release, path: Path, on_progress: OnProgress) -> BySubject:
    """The release's classifications, subject by subject."""
    workflow, watermark = release.workflow, release.watermark
    tasks = release.workflow_version.parsed.tasks.values()
    own_words = any(isinstance(task, BoxesTask | TextTask) for task in tasks)
    stored = BySubject(path, frozen_ids(release), count_up_to(workflow, watermark), own_words=own_words)
    for _ in stored.deal(read_snapshot(workflow=workflow, up_to=watermark, columns=COLUMNS), release.second_looks):
        on_progress(0)
    return stored


class _Tables:
    """The tables of a release while they are being written, and classifications.csv if it is wanted."""

    def __init__(self, release: Release, chosen: ReleaseSettings, work: Path, models: SubjectTable | None) -> None:
        facts = table_facts(release)
        self.models = models
        self.layout = layout_of(release.workflow_version.parsed, with_models=models is not None)
        info = TableInfo("subjects", "One row per subject", facts)
        self.subjects = BaseTable(str(work / ".subjects"), self.layout.subjects, info)
        info = TableInfo("clumps", "One row per consensus box", facts)
        self.clumps = BaseTable(str(work / ".clumps"), self.layout.clumps, info) if self.layout.has_clumps else None
        with_classifications = chosen.include_classifications
        self.tidy = TidyClassifications(work / "classifications.csv", release) if with_classifications else None
        self._stack = ExitStack()

    @property
    def tables(self) -> list[BaseTable]:
        return [self.subjects] if self.clumps is None else [self.subjects, self.clumps]

    def __enter__(self) -> None:
        for part in (self.subjects, self.clumps, self.tidy):
            if part is not None:
                self._stack.enter_context(part)

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def append(self, chunk: Reduced) -> None:
        """The rows of some subjects."""
        drawn = [columns for columns in self.layout.tasks if columns.n_clumps]
        clumps = {columns.task.key: clumps_of(columns, chunk, self.models) for columns in drawn}
        self.subjects.append(subject_columns(self.layout, chunk, clumps, self.models))
        if self.clumps is not None:
            self.clumps.append(clump_columns(self.layout, chunk, clumps))
        if self.tidy is not None:
            self.tidy.append(chunk)


def table_facts(release: Release) -> tuple[tuple[str, str], ...]:
    """What every table says about itself, short enough for any format's header."""
    return (
        ("project", release.provenance["project"]["title"]),
        ("workflow", release.provenance["workflow"]["name"]),
        ("version", release.workflow_version.number),
        ("watermark", str(release.watermark)),
    )


def file_entry(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {
            "name": path.name,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
            "bytes": path.stat().st_size,
        }


def _compare(release: Release, built: Built) -> None:
    """A published release must come out as it was. Pseudonyms follow a visitor who has signed in since, so that file
    and the sums over it may differ.
    """
    published = {entry["name"]: entry["sha256"] for entry in release.files}
    may_differ = {"classifications.csv", SUMS} if "classifications.csv" in published else set()
    now = {entry["name"]: entry["sha256"] for entry in built.files}
    changed = [name for name, digest in published.items() if now.get(name) != digest and name not in may_differ]
    if changed:
        before, after = release.provenance.get("software"), built.provenance["software"]
        cause = (
            f"the software was {before}, now it is {after}"
            if before != after
            else "its subjects or their sets have been edited since"
        )
        raise ReleaseChanged(f"{', '.join(changed)} would not be the published bytes: {cause}.")
