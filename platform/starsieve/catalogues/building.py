"""Writing a release's files: one pass over the subjects into the base tables, then format by format.

Everything is written into a folder beside the release's own, which takes its place when all is done: a release has
either all of its files or those it had before.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from starsieve.catalogues.columns import Layout, layout_of
from starsieve.catalogues.files import SUMS, release_folder
from starsieve.catalogues.models import Release
from starsieve.catalogues.provenance import provenance_of
from starsieve.catalogues.reduction import Ledger, ReducedSubject, fit_models, reduced_subjects
from starsieve.catalogues.release_settings import ReleaseSettings
from starsieve.catalogues.rows import clump_rows, subject_row
from starsieve.catalogues.tidy import TidyClassifications
from starsieve.catalogues.writers import SUFFIXES, WRITERS, BaseTable, TableInfo

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
    with_models = chosen.method == "consensus"
    layout = layout_of(release.workflow_version.parsed, with_models=with_models)
    ledger = Ledger()
    models = fit_models(release) if with_models else None
    tables = _write_base_tables(release, layout, chosen, work, reduced_subjects(release, ledger, models), on_progress)
    for table in tables:
        for name in chosen.formats:
            WRITERS[name](table, str(work / f"{table.info.name}.{SUFFIXES[name]}"))
        Path(table.path).unlink()
    provenance = provenance_of(release, ledger, models.tasks if models else {})
    text = json.dumps(provenance, indent=2, sort_keys=True, ensure_ascii=False)
    (work / "provenance.json").write_text(text + "\n", encoding="utf-8")
    files = [file_entry(path) for path in sorted(work.iterdir())]
    (work / SUMS).write_text("".join(f"{entry['sha256']}  {entry['name']}\n" for entry in files))
    return Built([*files, file_entry(work / SUMS)], provenance)


def _write_base_tables(
    release: Release,
    layout: Layout,
    chosen: ReleaseSettings,
    work: Path,
    chunks: Iterable[list[ReducedSubject]],
    on_progress: OnProgress,
) -> list[BaseTable]:
    facts = table_facts(release)
    with ExitStack() as stack:
        subjects = stack.enter_context(
            BaseTable(str(work / ".subjects"), layout.subjects, TableInfo("subjects", "One row per subject", facts))
        )
        clumps = None
        if layout.has_clumps:
            info = TableInfo("clumps", "One row per consensus box", facts)
            clumps = stack.enter_context(BaseTable(str(work / ".clumps"), layout.clumps, info))
        tidy = None
        if chosen.include_classifications:
            tidy = stack.enter_context(TidyClassifications(work / "classifications.csv", release))
        n_subjects = 0
        for chunk in chunks:
            for reduced in chunk:
                subjects.append(subject_row(layout, reduced))
                if clumps is not None:
                    for row in clump_rows(layout, reduced):
                        clumps.append(row)
                if tidy is not None:
                    tidy.append(reduced)
            n_subjects += len(chunk)
            on_progress(n_subjects)
    return [subjects] if clumps is None else [subjects, clumps]


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
