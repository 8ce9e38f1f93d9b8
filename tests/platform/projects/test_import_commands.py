import csv
import gzip
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from django.core.management import CommandError, call_command

from starsieve.projects.manifests import position_name
from starsieve.projects.models import Project, Subject, Workflow

pytestmark = pytest.mark.django_db


def run(*arguments: Any) -> str:
    out = StringIO()
    call_command(*[str(argument) for argument in arguments], stdout=out)
    return out.getvalue()


def rejects(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_manifest_is_loaded_into_a_new_set_linked_to_the_only_workflow(
    project: Project, workflow: Workflow, stamp_folder: Path
) -> None:
    manifest = stamp_folder / "field-7.csv"
    manifest.write_text("name,image\na,a.png\nc,c.jpg\n")
    assert "2 created, 0 unchanged, 0 rejected" in run("import_subjects", "deep-field", manifest)
    subject_set = project.subject_sets.get(name="field-7")
    assert list(subject_set.workflows.all()) == [workflow]
    assert workflow.progress.count() == 2
    assert "0 created, 2 unchanged" in run("import_subjects", "deep-field", manifest)
    assert not list(stamp_folder.glob("*.rejects.csv"))


def test_rejected_rows_are_written_beside_the_manifest_and_fail_the_command(
    project: Project, stamp_folder: Path
) -> None:
    manifest = stamp_folder / "m.csv"
    manifest.write_text("name,image\na,a.png\nb,broken.png\n")
    with pytest.raises(CommandError, match="1 of 2 rows rejected"):
        run("import_subjects", "deep-field", manifest, "--set", "S", "--origin", "simulated")
    (reject,) = rejects(stamp_folder / "m.csv.rejects.csv")
    assert (reject["row"], reject["name"], reject["column"]) == ("3", "b", "image")
    assert Subject.objects.get().origin == "simulated"
    manifest.write_text("name,image\na,a.png\nb,b.png\n")
    run("import_subjects", "deep-field", manifest, "--set", "S", "--origin", "simulated")
    assert not (stamp_folder / "m.csv.rejects.csv").exists()
    with pytest.raises(CommandError, match="need another set"):
        run("import_subjects", "deep-field", manifest, "--set", "S")


def test_a_compressed_manifest_with_pictures_elsewhere_is_read(
    project: Project, stamp_folder: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "m.jsonl.gz"
    manifest.write_bytes(gzip.compress(b'{"name": "a", "image": "a.png"}\n'))
    run("import_subjects", "deep-field", manifest, "--images", stamp_folder)
    assert Subject.objects.get().name == "a"
    manifest.write_bytes(gzip.compress(b"name,image\n" + b"a,a.png\n" * 5000)[:-20])
    broken = manifest.rename(tmp_path / "m.csv.gz")
    with pytest.raises(CommandError, match="rejected"):
        run("import_subjects", "deep-field", broken, "--images", stamp_folder, "--set", "m")
    assert "breaks off" in rejects(tmp_path / "m.csv.gz.rejects.csv")[-1]["message"]


def test_a_dry_run_writes_nothing(project: Project, stamp_folder: Path) -> None:
    (stamp_folder / "m.csv").write_text("name,image\na,a.png\n")
    assert "1 would be created" in run("import_subjects", "deep-field", stamp_folder / "m.csv", "--dry-run")
    assert not project.subject_sets.exists()
    assert not project.subjects.exists()


def test_bytes_that_are_not_utf8_cost_their_row(project: Project, stamp_folder: Path) -> None:
    (stamp_folder / "m.csv").write_bytes(b"name,image\ncaf\xe9,a.png\nb,b.png\n")
    with pytest.raises(CommandError, match="1 of 2"):
        run("import_subjects", "deep-field", stamp_folder / "m.csv")
    assert "is the file UTF-8" in rejects(stamp_folder / "m.csv.rejects.csv")[0]["message"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nope", "m.csv"), "no project 'nope'; there are: deep-field"),
        (("deep-field", "absent.csv"), "cannot be read"),
        (("deep-field", "m.csv", "--images", "absent"), "no such folder"),
        (("deep-field", "empty.csv"), "the file is empty"),
        (("deep-field", "headless.csv"), "“name” is missing"),
        (("deep-field", "."), ".: cannot be read: Is a directory"),
        (("deep-field", "heading.csv"), "holds no subject"),
        (("deep-field", "blank.jsonl"), "holds no subject"),
        (("deep-field", "semicolons.csv"), "“name” is missing; there are 'name;image'; commas must separate"),
        (("deep-field", "utf16.csv"), "is it UTF-8?"),
        (("deep-field", "m.csv", "--rejects", "m.csv"), "is the file to be imported"),
        (("deep-field", "m.csv", "--rejects", "."), "cannot be written there"),
        (("deep-field", "m.csv", "--rejects", "absent/r.csv"), "cannot be written there"),
        (("deep-field", "m.csv", "--set", "two\nlines"), "cannot be shown"),
        (("deep-\udcff", "m.csv"), "There is no project"),
    ],
)
def test_a_command_that_cannot_work_says_what_to_mend(
    project: Project, stamp_folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(stamp_folder)
    Path("m.csv").write_text("name,image\na,a.png\n")
    Path("empty.csv").write_text("")
    Path("headless.csv").write_text("1,2\n3,4\n")
    Path("heading.csv").write_text("name,image\n\n")
    Path("blank.jsonl").write_text("\n")
    Path("semicolons.csv").write_text("name;image\na;a.png\n")
    Path("utf16.csv").write_text("name,image\na,a.png\n", encoding="utf-16")
    with pytest.raises(CommandError) as caught:
        run("import_subjects", *arguments)
    assert words in str(caught.value)
    assert not project.subject_sets.exists()


@pytest.fixture
def mosaics(tmp_path: Path) -> list[str]:
    """Three bands of one field of 300 pixels, 0.2 arcseconds each, with a source in the middle."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.1, 2.2]
    wcs.wcs.crpix = [150.5, 150.5]
    wcs.wcs.cdelt = [-0.2 / 3600, 0.2 / 3600]
    y, x = np.mgrid[:300, :300]
    rng = np.random.default_rng(2)
    arguments = []
    for band in "gri":
        pixels = rng.normal(0, 1, (300, 300)) + 200 * np.exp(-np.hypot(x - 149.5, y - 149.5) / 5)
        fits.PrimaryHDU(pixels.astype(np.float32), wcs.to_header()).writeto(tmp_path / f"{band}.fits")
        arguments += ["--mosaic", f"{band}={tmp_path / f'{band}.fits'}"]
    return arguments


def test_stamps_are_cut_at_sky_positions_and_know_where_they_lie(
    project: Project, mosaics: list[str], tmp_path: Path
) -> None:
    catalogue = tmp_path / "objects.csv"
    catalogue.write_text("name,ra,dec,mag\ncentre,150.1,2.2,18\nedge,150.1082,2.2,19\nelsewhere,10,2.2,20\nnone,,,21\n")
    with pytest.raises(CommandError, match="3 of 4 rows rejected"):
        run("cut_stamps", "deep-field", catalogue, *mosaics, "--size", 10, "--each-band")
    subject = Subject.objects.get()
    assert (subject.name, subject.metadata, subject.ra) == ("centre", {"mag": "18"}, 150.1)
    assert [(frame["band"], frame["width"]) for frame in subject.frames] == [
        ("irg", 50), ("g", 50), ("r", 50), ("i", 50)
    ]  # fmt: skip
    assert subject.wcs is not None
    centre = WCS(fits.Header(subject.wcs)).pixel_to_world(24.5, 24.5)
    assert (centre.ra.deg, centre.dec.deg) == pytest.approx((150.1, 2.2), abs=1e-8)
    messages = [(reject["column"], reject["message"]) for reject in rejects(tmp_path / "objects.csv.rejects.csv")]
    assert messages[0] == ("ra, dec", "no position: fill in ra and dec, or the pixels x and y") or len(messages) == 3
    assert {message for _, message in messages} == {
        "reaches over the edge of the mosaic of g",
        "lies off the mosaic of g",
        "no position: fill in ra and dec, or the pixels x and y",
    }
    with pytest.raises(CommandError):
        run("cut_stamps", "deep-field", catalogue, *mosaics, "--size", 10, "--each-band")
    assert Subject.objects.count() == 1


def test_pixel_positions_get_a_name_and_their_place_on_the_sky(
    project: Project, mosaics: list[str], tmp_path: Path
) -> None:
    catalogue = tmp_path / "objects.csv"
    catalogue.write_text("x,y\n149.5,149.5\n")
    run("cut_stamps", "deep-field", catalogue, *mosaics, "--size-px", 40, "--shown-size", 120, "--stretch", "log",
        "--stretch", "asinh")  # fmt: skip
    subject = Subject.objects.get()
    assert subject.name == "x149.5-y149.5"
    assert (subject.ra, subject.dec) == pytest.approx((150.1, 2.2), abs=1e-9)
    assert [(frame["stretch"], frame["width"]) for frame in subject.frames] == [("log", 120), ("asinh", 120)]


def test_an_object_without_a_name_is_named_after_its_position(
    project: Project, mosaics: list[str], tmp_path: Path
) -> None:
    catalogue = tmp_path / "objects.csv"
    catalogue.write_text("ra,dec\n150.1,2.2\n")
    run("cut_stamps", "deep-field", catalogue, *mosaics)
    assert Subject.objects.get().name == "J100024.00+021200.0"


@pytest.mark.parametrize(
    ("ra", "dec", "name"),
    [
        (0.0, 0.0, "J000000.00+000000.0"),
        (1.1, -0.5, "J000424.00-003000.0"),
        (359.99999, 89.99999, "J235959.99+895959.9"),
        (83.633212, 22.01446, "J053431.97+220052.0"),
    ],
)
def test_names_are_cut_off_and_not_rounded(ra: float, dec: float, name: str) -> None:
    assert position_name(ra, dec) == name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--mosaic", "g.fits"], "expected BAND=FILE"),
        (["--mosaic", "g=absent.fits"], "absent.fits: cannot be read"),
        (["--size", "10", "--size-px", "40"], "not both"),
        (["--size", "0.1"], "too small"),
        (["--size", "3600"], "1 to 4096"),
        (["--size", "nan"], "positive number, not nan"),
        (["--size", "inf"], "positive number, not inf"),
        (["--size", "-5"], "positive number, not -5"),
        (["--size-px", "0"], "positive number, not 0"),
    ],
)
def test_a_cut_that_cannot_work_says_what_to_mend(
    project: Project, mosaics: list[str], tmp_path: Path, arguments: list[str], words: str
) -> None:
    catalogue = tmp_path / "objects.csv"
    catalogue.write_text("ra,dec\n150.1,2.2\n")
    with pytest.raises(CommandError) as caught:
        run("cut_stamps", "deep-field", catalogue, *mosaics, *arguments)
    assert words in str(caught.value)
    assert not project.subject_sets.exists()


def test_a_mosaic_of_scaled_integers_is_cut(project: Project, tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(30_000, 40_000, (60, 60), dtype=np.uint16)  # written with BZERO
    fits.writeto(tmp_path / "r.fits", pixels)
    catalogue = tmp_path / "objects.csv"
    catalogue.write_text("name,x,y\none,30,30\n")
    said = run("cut_stamps", "deep-field", catalogue, "--mosaic", f"r={tmp_path / 'r.fits'}", "--size-px", 20)
    assert "1 created" in said
    assert Subject.objects.get().frames[0]["width"] == 20


def test_a_mosaic_that_breaks_off_costs_the_objects_beyond(project: Project, tmp_path: Path) -> None:
    whole = tmp_path / "whole.fits"
    fits.writeto(whole, np.random.default_rng(3).normal(size=(100, 100)).astype(np.float32))
    (tmp_path / "r.fits").write_bytes(whole.read_bytes()[:30_000])
    catalogue = tmp_path / "objects.csv"
    catalogue.write_text("name,x,y\nbelow,20,20\nbeyond,90,90\nnowhere,inf,nan\n")
    with pytest.raises(CommandError, match="2 of 3 rows"):
        run("cut_stamps", "deep-field", catalogue, "--mosaic", f"r={tmp_path / 'r.fits'}", "--size-px", 10)
    assert [subject.name for subject in project.subjects.all()] == ["below"]
    beyond, nowhere = rejects(tmp_path / "objects.csv.rejects.csv")
    assert "r.fits: is broken here" in beyond["message"]
    assert (nowhere["column"], nowhere["message"]) == ("x, y", "must be ordinary numbers, not inf and nan")


def test_a_mosaic_of_no_known_sky_is_cut_by_pixels_without_a_place(project: Project, tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU(np.random.default_rng(3).normal(size=(60, 60)).astype(np.float32))
    hdu.header.update(CTYPE1="XLON-TAN", CTYPE2="XLAT-TAN", CRVAL1=10.0, CRVAL2=10.0, CDELT1=1e-4, CDELT2=1e-4)
    hdu.writeto(tmp_path / "r.fits")
    catalogue = tmp_path / "objects.csv"
    catalogue.write_text("x,y\n30,30\n")
    run("cut_stamps", "deep-field", catalogue, "--mosaic", f"r={tmp_path / 'r.fits'}", "--size-px", 20)
    assert Subject.objects.get().ra is None
