"""The demo: real galaxies, honest labels, three projects ready to classify; loading twice changes nothing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classify.models import Classification, GoldStandard, SubjectProgress
from ml_worker.models import ModelVersion
from starsieve.accounts.models import User
from starsieve.ops.demo.build import SMALL, build_demo
from starsieve.ops.demo.lenses import paint_onto
from starsieve.ops.demo.people import logins, make_people
from starsieve.ops.demo.sky import detect_galaxies, picture
from starsieve.ops.demo.stamps import SHOWN, clump_peaks, colour_stamp, cutout, is_deflector_like, lens_stamp
from starsieve.projects.models import Membership, Origin, Project, Subject


@pytest.fixture(scope="module")
def sky() -> Any:
    rgb = picture()
    return rgb, detect_galaxies(rgb)


def test_a_few_hundred_galaxies_are_found_largest_first_and_inside_the_picture(sky: Any) -> None:
    rgb, galaxies = sky
    assert len(galaxies) > 500
    assert [g.area for g in galaxies] == sorted((g.area for g in galaxies), reverse=True)
    assert len({g.name for g in galaxies}) == len(galaxies)
    for galaxy in galaxies:
        assert galaxy.stamp_size / 2 <= galaxy.x <= rgb.shape[1] - galaxy.stamp_size / 2


def test_a_galaxy_is_where_its_light_is(sky: Any) -> None:
    rgb, galaxies = sky
    for galaxy in galaxies[:50]:
        middle = rgb[int(galaxy.y) - 2 : int(galaxy.y) + 3, int(galaxy.x) - 2 : int(galaxy.x) + 3]
        assert middle.mean() > 2 * np.median(rgb)


def test_stamps_have_one_size_and_lens_stamps_three_different_frames(sky: Any) -> None:
    rgb, galaxies = sky
    assert colour_stamp(rgb, galaxies[0]).pictures[0].image.size == (SHOWN, SHOWN)
    deflector = next(galaxy for galaxy in galaxies if is_deflector_like(rgb, galaxy))
    pictures = lens_stamp(cutout(rgb, deflector)).pictures
    assert [picture.image.size for picture in pictures] == [(SHOWN, SHOWN)] * 3
    assert len({picture.image.tobytes() for picture in pictures}) == 3


def test_a_painted_lens_adds_light_around_the_middle_and_leaves_the_picture_alone(sky: Any) -> None:
    rgb, galaxies = sky
    before = rgb.copy()
    bands = cutout(rgb, next(galaxy for galaxy in galaxies if is_deflector_like(rgb, galaxy)))
    added = paint_onto(bands, np.random.default_rng(0)) - bands
    assert added.min() >= 0
    assert added[2].sum() > added[0].sum() > 0
    assert (rgb == before).all()


def test_clump_peaks_lie_on_the_galaxy_away_from_its_middle(sky: Any) -> None:
    rgb, galaxies = sky
    spiral = np.asarray(colour_stamp(rgb, galaxies[2]).pictures[0].image.convert("RGB"))
    peaks = clump_peaks(spiral)
    assert len(peaks) >= 2
    assert all(26 < np.hypot(peak.x - SHOWN / 2, peak.y - SHOWN / 2) < 120 for peak in peaks)


@pytest.mark.services
@pytest.mark.django_db
def test_loading_makes_three_live_projects_with_honest_origins_and_a_second_time_changes_nothing(
    settings: Any, tmp_path: Path
) -> None:
    settings.VAR_DIR = tmp_path
    build_demo(SMALL, lambda line: None)

    live = Project.objects.filter(status=Project.Status.LIVE)
    assert {project.slug for project in live} == {"galaxy-zoo", "lens-grading", "clump-scout"}
    lenses = Subject.objects.filter(project__slug="lens-grading")
    assert {s.origin for s in lenses} == {Origin.REAL, Origin.SIMULATED}
    assert set(Subject.objects.exclude(project__slug="lens-grading").values_list("origin", flat=True)) == {Origin.REAL}
    for gold in GoldStandard.objects.select_related("subject"):
        assert ("A" in gold.value) == (gold.subject.origin == Origin.SIMULATED)
    assert SubjectProgress.objects.count() == Subject.objects.count()
    assert set(Classification.objects.values_list("metadata__client", flat=True)) == {"simulated volunteer"}
    model = ModelVersion.objects.get()
    assert "never trained" in model.provenance
    assert "simulated" in model.provenance
    assert Membership.objects.filter(user__username="expert", role="expert").count() == 3

    def state() -> list[int]:
        models = (Project, Subject, Classification, GoldStandard, ModelVersion, Membership)
        return [model.objects.count() for model in models]

    before, passwords = state(), logins()
    build_demo(SMALL, lambda line: None)
    assert (state(), logins()) == (before, passwords)


@pytest.mark.django_db
def test_passwords_are_random_per_folder_and_work(settings: Any, tmp_path: Path) -> None:
    settings.VAR_DIR = tmp_path / "one"
    settings.VAR_DIR.mkdir()
    make_people()
    first = {login.username: login.password for login in logins()}
    assert set(first) == {"admin", "expert", "volunteer"}
    assert User.objects.get(username="volunteer").check_password(first["volunteer"])
    assert (settings.VAR_DIR / "demo_logins.json").stat().st_mode & 0o077 == 0
    settings.VAR_DIR = tmp_path / "two"
    settings.VAR_DIR.mkdir()
    make_people()
    assert {login.password for login in logins()}.isdisjoint(first.values())
    assert json.loads((settings.VAR_DIR / "demo_logins.json").read_text())["admin"] != first["admin"]
