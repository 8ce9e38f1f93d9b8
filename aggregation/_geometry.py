"""Rectangles ``x, y, width, height``, x and y being the top-left corner."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aggregation._votes import FloatArray, IntArray, ratio


def box_iou(first: npt.ArrayLike, second: npt.ArrayLike) -> FloatArray:
    """Intersection over union of every pair of boxes ``x, y, width, height``.

    Parameters
    ----------
    first, second
        Float (n, 4) and (m, 4).

    Returns
    -------
    ndarray
        Float (n, m), between 0 and 1.

    Examples
    --------
    >>> box_iou([[0, 0, 2, 2]], [[1, 0, 2, 2]]).round(3)
    array([[0.333]])
    """
    a = np.asarray(first, dtype=float).reshape(-1, 4)[:, np.newaxis, :]
    b = np.asarray(second, dtype=float).reshape(-1, 4)[np.newaxis, :, :]
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    overlap = np.clip(high - low, 0.0, None).prod(axis=-1)
    union = a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - overlap
    return np.minimum(ratio(overlap, union, empty=0.0), 1.0)


def check_boxes(boxes: npt.ArrayLike, rows: IntArray | None = None) -> FloatArray:
    """Boxes as float (n, 4); `rows` are their numbers in the caller's input, for the message."""
    array = np.asarray(boxes, dtype=float)
    if array.size == 0:
        return np.empty((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes must have shape (n, 4): x, y, width, height; got {array.shape}")
    bad = ~np.isfinite(array).all(axis=1) | (array[:, 2:] <= 0).any(axis=1)
    if bad.any():
        first = int(bad.argmax())
        name = first if rows is None else int(rows[first])
        raise ValueError(f"boxes[{name}] is {array[first].tolist()}: four finite numbers with width and height above 0")
    return array


def edges(boxes: FloatArray) -> FloatArray:
    """Left, top, right, bottom; (n, 4)."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def from_edges(sides: FloatArray) -> FloatArray:
    """Boxes of the given left, top, right, bottom; (n, 4)."""
    corners = sides.reshape(-1, 4)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def pair_iou(first: FloatArray, second: FloatArray) -> FloatArray:
    """Intersection over union of the boxes in the same rows, (n,)."""
    low = np.maximum(first[:, :2], second[:, :2])
    high = np.minimum(first[:, :2] + first[:, 2:], second[:, :2] + second[:, 2:])
    overlap = np.clip(high - low, 0.0, None).prod(axis=1)
    union = first[:, 2:].prod(axis=1) + second[:, 2:].prod(axis=1) - overlap
    return np.minimum(ratio(overlap, union, empty=0.0), 1.0)


def point_boxes(x: npt.ArrayLike, y: npt.ArrayLike, radius: npt.ArrayLike) -> FloatArray:
    """Square marks for points: the natural radius (of the point-spread function, say) gives them their extent.

    Parameters
    ----------
    x, y
        Points, float (n,); nan for a classification without any.
    radius
        Half the side, one number or float (n,).

    Returns
    -------
    ndarray
        ``x, y, width, height``, float (n, 4).

    Examples
    --------
    >>> point_boxes([10, 20], [5, 5], 2)
    array([[ 8.,  3.,  4.,  4.],
           [18.,  3.,  4.,  4.]])
    """
    across, down, half = np.broadcast_arrays(*(np.asarray(values, dtype=float) for values in (x, y, radius)))
    nowhere = np.isnan(across) & np.isnan(down)
    side = np.where(nowhere, np.nan, 2.0 * half)
    return np.stack([across - half, down - half, side, side], axis=-1).reshape(-1, 4)
