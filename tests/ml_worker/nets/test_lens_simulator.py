"""The lens simulator obeys the lens equation and paints what it says."""

from dataclasses import replace

import numpy as np
import pytest

from ml_worker.nets.lens_simulator import (
    LensParameters,
    draw_parameters,
    lensed_light,
    paint_lens,
    ray_shoot,
    sie_deflection,
)  # fmt: skip

LENS = LensParameters(
    einstein_radius=9.0, axis_ratio=1.0, angle=0.0, shear=0.0, shear_angle=0.0, source_x=0.0, source_y=0.0,
    source_radius=1.5, sersic_index=1.0, source_axis_ratio=1.0, source_angle=0.0, source_peak=100.0,
    source_colour=(0.5, 0.75, 1.0), psf_fwhm=1.0,
)  # fmt: skip


def test_the_isothermal_sphere_deflects_by_its_einstein_radius_everywhere() -> None:
    x, y = np.random.default_rng(0).uniform(-20, 20, (2, 100))
    np.testing.assert_allclose(np.hypot(*sie_deflection(x, y, 9.0, 1.0, 0.3)), 9.0)


def test_the_ellipsoid_tends_to_the_sphere() -> None:
    x, y = np.random.default_rng(0).uniform(-20, 20, (2, 100))
    np.testing.assert_allclose(sie_deflection(x, y, 9.0, 0.9998, 0.3), sie_deflection(x, y, 9.0, 1.0, 0.3), atol=5e-3)


def test_the_deflection_field_has_the_isothermal_ellipsoids_convergence() -> None:
    """½ div α = κ = θ_E √q / (2 √(q²x² + y²)) in the frame of the major axis: Kormann et al. 1994."""
    q, radius, step = 0.7, 9.0, 1e-4
    x, y = np.random.default_rng(1).uniform(2, 15, (2, 50))
    along = sie_deflection(x + step, y, radius, q, 0.0)[0] - sie_deflection(x - step, y, radius, q, 0.0)[0]
    across = sie_deflection(x, y + step, radius, q, 0.0)[1] - sie_deflection(x, y - step, radius, q, 0.0)[1]
    expected = radius * np.sqrt(q) / (2 * np.sqrt(q**2 * x**2 + y**2))
    np.testing.assert_allclose((along + across) / (4 * step), expected, rtol=1e-5)


def test_turning_the_lens_turns_its_deflection() -> None:
    x, y = np.array([5.0]), np.array([2.0])
    a, b = sie_deflection(x, y, 9.0, 0.6, 0.0)
    turned = sie_deflection(-y, x, 9.0, 0.6, np.pi / 2)
    np.testing.assert_allclose(turned, (-b, a), atol=1e-12)


def test_a_source_behind_the_centre_becomes_a_ring_of_the_einstein_radius() -> None:
    light = lensed_light(replace(LENS, psf_fwhm=0.5), 64, 64)
    y, x = np.indices(light.shape) - 31.5
    assert (light * np.hypot(x, y)).sum() / light.sum() == pytest.approx(9.0, abs=0.3)


def test_both_images_of_an_offset_source_satisfy_the_lens_equation() -> None:
    """A point source at β < θ_E behind an isothermal sphere has images at β ± θ_E on its line."""
    x = np.array([3.0 + 9.0, 3.0 - 9.0])
    np.testing.assert_allclose(ray_shoot(x, np.zeros(2), LENS)[0], 3.0)


def test_lensing_magnifies() -> None:
    plain = lensed_light(replace(LENS, einstein_radius=0.0), 64, 64).sum()
    assert lensed_light(LENS, 64, 64).sum() > 3 * plain


def test_painting_adds_only_light_in_the_sources_colour_and_leaves_the_stamp_alone() -> None:
    stamp = np.full((3, 64, 64), 20.0)
    painted = paint_lens(stamp, LENS, np.random.default_rng(0))
    assert (stamp == 20.0).all()
    added = (painted - stamp).sum((1, 2))
    assert added.min() > 0
    np.testing.assert_allclose(added / added[2], LENS.source_colour, rtol=0.05)


def test_a_source_without_light_changes_nothing() -> None:
    stamp = np.random.default_rng(0).random((3, 64, 64))
    np.testing.assert_array_equal(paint_lens(stamp, replace(LENS, source_peak=0.0), np.random.default_rng(0)), stamp)


def test_the_same_seed_paints_the_same_lens() -> None:
    def painted() -> object:
        rng = np.random.default_rng(4)
        lens = draw_parameters(rng, einstein_radius=(6, 12), source_peak=(100, 200), psf_fwhm=1.8)
        return paint_lens(np.zeros((3, 64, 64)), lens, rng)

    np.testing.assert_array_equal(painted(), painted())


def test_a_colour_for_each_band_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"3 colours for a stamp of shape \(1, 64, 64\)"):
        paint_lens(np.zeros((1, 64, 64)), LENS, np.random.default_rng(0))
