"""The package's face: its names, its examples, and what importing it costs."""

import dataclasses
import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import aggregation

MODULES = [module.name for module in pkgutil.iter_modules(aggregation.__path__) if module.name != "__main__"]


def test_the_fixed_names_are_there():
    for name in ("majority", "weighted_votes", "dawid_skene", "one_coin", "consensus_boxes"):
        assert callable(getattr(aggregation, name))


def test_everything_public_is_listed_in_order_and_documented():
    classes = sorted(name for name in aggregation.__all__ if name[0].isupper() and not name.isupper())
    assert set(classes) < set(aggregation.__all__)
    for name in aggregation.__all__:
        thing = getattr(aggregation, name)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            assert thing.__doc__, name


def test_results_are_frozen():
    for name in aggregation.__all__:
        thing = getattr(aggregation, name)
        # What sweeps is a running state, and what carries out rounds holds votes: neither is a result.
        if inspect.isclass(thing) and not hasattr(thing, "sweep") and not hasattr(thing, "carry_out"):
            assert dataclasses.is_dataclass(thing), name
            assert thing.__dataclass_params__.frozen, name


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_are_true(name):
    module = importlib.import_module(f"aggregation.{name}")
    assert doctest.testmod(module).failed == 0


def test_every_public_function_has_an_example_or_says_whose_it_shares():
    without = [
        name
        for name in aggregation.__all__
        if inspect.isfunction(getattr(aggregation, name)) and ">>>" not in getattr(aggregation, name).__doc__
    ]
    assert without == ["grades_from_counts", "reliability"]


def test_importing_it_needs_neither_django_nor_pyarrow_nor_torch():
    code = "import aggregation.cli, sys; print([m for m in ('django', 'pyarrow', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
