"""crowd-kit's methods by their public interface, from the package (`make bench` installs it)."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Posterior = NDArray[np.float64]


def frame_of(subject: Any, volunteer: Any, answer: Any) -> Any:
    """Votes as crowd-kit takes them."""
    import pandas

    return pandas.DataFrame({"task": subject, "worker": volunteer, "label": answer})


def _probabilities(name: str) -> Callable[[Any, int, int], Posterior]:
    def fit(frame: Any, n_answers: int, n_subjects: int) -> Posterior:
        from crowdkit import aggregation

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = getattr(aggregation, name)().fit_predict_proba(frame)
        table = found.reindex(index=range(n_subjects), columns=range(n_answers)).fillna(0.0).to_numpy(dtype=float)
        total = table.sum(axis=1, keepdims=True)
        return np.where(total > 0, table / np.where(total > 0, total, 1.0), 1.0 / n_answers)

    return fit


#: By their names in crowd-kit. GLAD and MACE take minutes on the larger tables.
PEERS = {name: _probabilities(name) for name in ("MajorityVote", "Wawa", "DawidSkene", "OneCoinDawidSkene")}
SLOW_PEERS = {name: _probabilities(name) for name in ("GLAD", "MACE")}
