"""`make_release WORKFLOW -o DIR` freezes, builds here and now, and copies the files."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from starsieve.catalogues.models import Release
from tests.platform.catalogues.conftest import GRADE


def test_the_files_lie_in_the_folder_with_their_sums(survey: Any, tmp_path: Path) -> None:
    workflow = survey.workflow(GRADE)
    survey.answer(workflow, "one", "A")
    call_command("make_release", workflow.pk, "-o", tmp_path / "out" / "dr1")
    folder = tmp_path / "out" / "dr1"
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert {path.suffix for path in folder.glob("subjects.*")} == {".csv", ".parquet", ".fits", ".vot"}


def test_running_it_twice_gives_the_same_bytes(survey: Any, tmp_path: Path) -> None:
    workflow = survey.workflow(GRADE)
    survey.answer(workflow, "one", "A")
    for name in ("a", "b"):
        call_command("make_release", workflow.pk, "-o", tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_an_earlier_release_can_be_written_again(survey: Any, tmp_path: Path) -> None:
    workflow = survey.workflow(GRADE)
    call_command("make_release", workflow.pk, "-o", tmp_path / "a")
    survey.answer(workflow, "one", "A")
    call_command("make_release", workflow.pk, "--release", "1", "-o", tmp_path / "b")
    assert Release.objects.count() == 1
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_formats_and_user_can_be_chosen(survey: Any, tmp_path: Path) -> None:
    workflow = survey.workflow(GRADE)
    call_command("make_release", workflow.pk, "-o", tmp_path, "--formats", "fits", "csv", "--user", "OWNER")
    assert {path.name for path in tmp_path.glob("subjects.*")} == {"subjects.csv", "subjects.fits"}
    assert Release.objects.get().created_by == survey.owner


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "magic"], "method: unknown method 'magic'; known: consensus, fractions"),
        (["--formats", "xls"], "formats: unknown format 'xls'"),
        (["--user", "nobody"], "no user 'nobody'"),
        (["--release", "7"], "no release 7"),
    ],
)
def test_a_wrong_option_ends_with_2_and_says_which(
    survey: Any, tmp_path: Path, options: list[str], message: str
) -> None:
    workflow = survey.workflow(GRADE)
    with pytest.raises(CommandError, match=message) as refusal:
        call_command("make_release", workflow.pk, "-o", tmp_path / "out", *options)
    assert refusal.value.returncode == 2
    assert not Release.objects.exists()
    assert not (tmp_path / "out").exists()


def test_an_unknown_workflow_is_refused_with_those_there_are(survey: Any, tmp_path: Path) -> None:
    workflow = survey.workflow(GRADE)
    with pytest.raises(CommandError, match=rf"no workflow 999; there are: {workflow.pk} \(Main\)"):
        call_command("make_release", 999, "-o", tmp_path)


def test_help_lists_the_methods(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command("make_release", "--help")
    assert "fractions: vote counts and fractions" in " ".join(capsys.readouterr().out.split())


def test_a_folder_that_cannot_be_used_is_refused_before_anything_is_frozen(survey: Any, tmp_path: Path) -> None:
    workflow = survey.workflow(GRADE)
    survey.answer(workflow, "one", "A")
    file = tmp_path / "file"
    file.write_text("in the way")
    for output in (file, file / "below"):
        with pytest.raises(CommandError, match="cannot be used as a folder") as refusal:
            call_command("make_release", workflow.pk, "-o", output)
        assert refusal.value.returncode == 2
    assert not workflow.releases.exists()


def test_a_file_that_cannot_be_written_says_how_to_get_the_release(survey: Any, tmp_path: Path) -> None:
    workflow = survey.workflow(GRADE)
    survey.answer(workflow, "one", "A")
    (tmp_path / "subjects.csv").mkdir()
    with pytest.raises(CommandError, match=f"make_release {workflow.pk} --release 1 -o FOLDER"):
        call_command("make_release", workflow.pk, "-o", tmp_path, "--formats", "csv")
