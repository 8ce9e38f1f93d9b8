import subprocess
import sys
import threading
from functools import cache
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from aggregation import (
    Estimate,
    completeness_at_false_positive_rate,
    figure_svg,
    plot_completeness,
    plot_confusion,
    plot_reliability,
    reliability,
)
from aggregation._plot_style import THEMES, contrast
from aggregation.plots import confusion_size, reliability_size

SVG = "{http://www.w3.org/2000/svg}"


def some_reliability(answer=None):
    rng = np.random.default_rng(0)
    p = rng.dirichlet([0.5, 0.5, 0.5], 300)
    return reliability(p, rng.integers(0, 3, 300), answer=answer)


def some_scores():
    rng = np.random.default_rng(1)
    positive = rng.random(2000) < 0.05
    return rng.normal(3.0 * positive, 1.0), positive


def every_figure(theme="light"):
    score, positive = some_scores()
    return [
        plot_reliability(some_reliability(), theme=theme),
        plot_completeness(score, positive, theme=theme, interval=Estimate(0.5, 0.4, 0.6)),
        plot_confusion([[8, 2], [1, 9]], ["smooth", "features or disk"], theme=theme),
    ]


@cache
def every_svg(theme="light"):
    return [figure_svg(figure) for figure in every_figure(theme)]


def confusion_svg(theme):
    return figure_svg(plot_confusion([[8, 2], [1, 9]], ["a", "b"], theme=theme))


def rgb(colour):
    from matplotlib.colors import to_rgb

    return np.array(to_rgb(colour))


def test_importing_the_package_does_not_import_matplotlib():
    code = "import aggregation.cli, aggregation.plots, sys; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_reliability_curve_goes_through_the_means_of_the_full_bins():
    table = some_reliability()
    axes, strip = plot_reliability(table).axes
    full = table.n >= 5
    drawn = next(line for line in axes.lines if len(line.get_xdata()) == full.sum() and line.get_linestyle() == "-")
    np.testing.assert_allclose(drawn.get_xdata(), table.confidence[full])
    np.testing.assert_allclose(drawn.get_ydata(), table.accuracy[full])
    assert [patch.get_height() for patch in strip.patches] == table.n.tolist()


def test_a_reliability_curve_of_other_things_says_so():
    figure = plot_reliability(some_reliability(), things="boxes")
    assert figure.axes[1].get_ylabel() == "Boxes"
    assert figure.get_label().startswith("Reliability\n300 boxes, calibration error")


def test_the_completeness_mark_sits_at_the_rate():
    score, positive = some_scores()
    (axes,) = plot_completeness(score, positive, rate=0.01).axes
    mark = next(line for line in axes.lines if line.get_marker() == "o")
    assert mark.get_xdata() == [0.01]
    assert mark.get_ydata() == [completeness_at_false_positive_rate(score, positive, 0.01)]
    assert axes.get_xscale() == "log"


def test_confusion_rows_are_shares_of_their_truth():
    (axes,) = plot_confusion([[8, 2], [0, 0]], ["a", "b"]).axes
    assert [text.get_text() for text in axes.texts] == ["80 %\n8", "20 %\n2", "0 %\n0", "0 %\n0"]
    (axes,) = plot_confusion([[0.7, 0.3], [0.5, 0.5]], ["a", "b"]).axes
    assert [text.get_text() for text in axes.texts] == ["70 %", "30 %", "50 %", "50 %"]


def test_a_crowd_s_confusion_names_its_own_columns():
    (axes,) = plot_confusion(np.eye(2), ["a", "b"], names=("Truth", "Volunteer's answer")).axes
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("Truth", "Volunteer's answer")


def test_the_size_of_a_picture_is_known_before_it_is_drawn():
    sizes = [reliability_size(), *(confusion_size(n) for n in (2, 5, 20))]
    figures = [plot_reliability(some_reliability()), *(plot_confusion(np.eye(n), ["x"] * n) for n in (2, 5, 20))]
    for size, figure in zip(sizes, figures, strict=True):
        root = ElementTree.fromstring(figure_svg(figure))
        assert [float(root.get("width")), float(root.get("height"))] == pytest.approx(size, abs=0.5)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_svg_needs_nothing_that_a_strict_policy_forbids(theme):
    for svg in every_svg(theme):
        root = ElementTree.fromstring(svg)
        tags = {element.tag.removeprefix(SVG) for element in root.iter()}
        assert tags <= {"svg", "title", "desc", "defs", "clipPath", "g", "path", "rect", "use", "text", "tspan"}
        names = {key for element in root.iter() for key in element.attrib}
        assert not [key for key in names if key == "style" or key.startswith("on") or "{" in key]


def test_svg_is_named_and_described_for_those_who_do_not_see_it():
    root = ElementTree.fromstring(figure_svg(plot_confusion([[8, 2], [1, 9]], ["smooth", "<b>&"], title="Shape")))
    title, description = root[0], root[1]
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert title.text == "Shape"
    assert description.text == "smooth: 80 % smooth, 20 % <b>&. <b>&: 10 % smooth, 90 % <b>&."


def test_the_same_picture_is_the_same_text_and_another_shares_no_id_with_it():
    figures = every_figure()
    assert [figure_svg(figure) for figure in figures] == every_svg()
    assert figure_svg(figures[2]) == every_svg()[2]  # written again, not made again
    ids = [
        element.get("id")
        for svg in [*every_svg(), *every_svg("dark")]
        for element in ElementTree.fromstring(svg).iter()
        if element.get("id")
    ]
    assert len(ids) == len(set(ids)) >= 12


def test_every_reference_leads_to_an_id():
    for svg in every_svg():
        root = ElementTree.fromstring(svg)
        ids = {element.get("id") for element in root.iter()}
        wanted = {element.get("href").removeprefix("#") for element in root.iter() if element.get("href")}
        clips = {element.get("clip-path")[5:-1] for element in root.iter() if element.get("clip-path")}
        assert wanted | clips <= ids
        assert clips or wanted


def test_a_local_configuration_changes_nothing_and_is_left_alone():
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red"}):
        assert [figure_svg(figure) for figure in every_figure()] == every_svg()
        assert mpl.rcParams["font.size"] == 30


def test_pictures_made_at_once_in_threads_are_those_made_in_turn():
    alone = {theme: confusion_svg(theme) for theme in THEMES}
    made = []
    threads = [
        threading.Thread(target=lambda theme=theme: made.append((theme, confusion_svg(theme))))
        for theme in [*THEMES] * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert all(alone[theme] == svg for theme, svg in made)


def test_letters_and_dollars_of_any_answer_are_drawn_as_they_are():
    svg = figure_svg(plot_confusion([[1, 0], [0, 1]], ["$x_1$ or 5 %", "螺旋 🌀 ñ"]))
    texts = [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert "$x_1$ or 5 %" in texts
    assert "螺旋 🌀 ñ" in texts


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_text_is_readable_on_its_page(theme):
    page = rgb(theme.page)
    assert contrast(rgb(theme.text), page) > 7
    assert contrast(rgb(theme.muted), page) > 4.5
    assert min(contrast(rgb(theme.accent), page), contrast(rgb(theme.second), page)) > 4.5
    for share in np.linspace(0, 1, 21):
        behind = page + (rgb(theme.accent) - page) * (0.04 + 0.9 * share)
        assert max(contrast(rgb(theme.text), behind), contrast(page, behind)) > 4


def test_nothing_to_show_is_a_picture_that_says_so():
    empty = plot_reliability(reliability(np.empty((0, 2)), np.empty(0, int)))
    assert empty.get_label() == "Reliability\nNo subjects."
    undefined = plot_completeness([1.0, 2.0], [1, 1])
    assert undefined.get_label() == "Completeness\nUndefined: 2 positives and 0 negatives."
    for figure in (empty, undefined, plot_confusion(np.empty((0, 0)), [])):
        assert figure_svg(figure).startswith("<svg")


def test_bad_input_is_refused_by_name():
    with pytest.raises(ValueError, match='theme must be "light" or "dark", got \'pink\''):
        plot_reliability(some_reliability(), theme="pink")
    with pytest.raises(ValueError, match=r"2 labels need a confusion matrix of 2 by 2, got \(3, 3\)"):
        plot_confusion(np.eye(3), ["a", "b"])
    with pytest.raises(ValueError, match="negative"):
        plot_confusion([[-1, 2], [0, 1]], ["a", "b"])
