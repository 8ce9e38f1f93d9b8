"""A subject's marks and consensus as a picture."""

from dataclasses import replace

import numpy as np
import pytest

from aggregation import DrawnMarks, figure_svg, plot_boxes

MARKS = DrawnMarks(
    boxes=np.array([[10.0, 10, 8, 8], [11, 10, 8, 8], [40, 30, 6, 6]]),
    member=np.array([0, 0, -1]),
    volunteer=np.array([0, 1, 1]),
    p_fp=np.array([0.0, 0.5, 0.2]),
    p_fn=np.array([0.1, 0.4, 1.0]),
)
BOXES, SURE = [[10.5, 10, 8, 8]], [0.98]


def rectangles(figure):
    return [(patch.get_xy(), patch.get_linewidth(), patch.get_linestyle()) for patch in figure.axes[0].patches]


def test_every_mark_is_drawn_and_stray_ones_are_dashed():
    drawn = rectangles(plot_boxes(MARKS, BOXES, SURE, size=(60, 50)))
    thin = [(place, style) for place, width, style in drawn if width == 1.0]
    assert [place for place, _ in thin] == [(10, 10), (11, 10), (40, 30)]
    assert [style == "-" for _, style in thin] == [True, True, False]


def test_marks_of_volunteers_who_are_not_to_be_believed_are_fainter():
    patches = plot_boxes(MARKS, BOXES, SURE, size=(60, 50)).axes[0].patches
    assert patches[0].get_alpha() > patches[1].get_alpha()


def test_consensus_boxes_tell_their_probability_and_errors():
    figure = plot_boxes(MARKS, BOXES, SURE, size=(60, 50), standard_errors=[[0.5, 0.7, 1, 1]])
    assert [text.get_text() for text in figure.axes[0].texts] == ["1: 98 %"]
    assert len(figure.axes[0].containers) == 1
    assert figure.get_label().endswith("3 marks of 3 volunteers; 1 consensus box: 98 % at (14, 14).")


def test_each_volunteer_who_looked_is_a_dot():
    dots = plot_boxes(MARKS, BOXES, SURE, size=(60, 50)).axes[1].collections[0].get_offsets()
    np.testing.assert_allclose(dots, [[0.1, 0.0], [0.4, 0.5], [1.0, 0.2]])


def test_the_stamp_lies_below_in_its_own_pixels():
    figure = plot_boxes(MARKS, BOXES, SURE, size=(60, 50), image=np.zeros((100, 120, 3)))
    assert figure.axes[0].images[0].get_extent() == [0, 60, 50, 0]
    assert figure.axes[0].get_ylim() == (50, 0)


def test_nothing_drawn_is_a_picture_too_and_the_same_each_time():
    empty = DrawnMarks(np.empty((0, 4)), np.empty(0, int), np.empty(0, int), np.empty(0), np.empty(0))
    first, second = (figure_svg(plot_boxes(empty, [], [], size=(60, 50), theme="dark")) for _ in range(2))
    assert first == second
    assert "0 marks of 0 volunteers; 0 consensus boxes." in first


@pytest.mark.parametrize(
    ("changed", "sure", "message"),
    [
        ({}, [0.5, 0.5], "1 boxes need as many probabilities"),
        ({"member": np.array([0])}, SURE, "must be equally long"),
        ({"volunteer": np.array([0, 1, 7])}, SURE, "volunteer 7 has no skills: there are 3"),
        ({"p_fn": np.array([0.1])}, SURE, "a number for each volunteer"),
        ({"boxes": np.array([[0.0, 0, -1, 4]] * 3)}, SURE, "width"),
    ],
)
def test_what_does_not_fit_together_is_refused(changed, sure, message):
    with pytest.raises(ValueError, match=message):
        plot_boxes(replace(MARKS, **changed), BOXES, sure, size=(60, 50))
