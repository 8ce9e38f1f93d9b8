"""`make bench BENCH=<name>`: measure, print one line per figure, write benchmarks/results/<name>.json.

Exit 0 when every bar is met, 1 when one is missed or a bench breaks, 2 for an unknown name.
"""

import argparse
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
BENCHES = ("votes", "boxes", "live", "prefilter", "browser")
RESULTS = REPOSITORY / "benchmarks" / "results"


def run_bench(name: str, folder: Path, *, tiny: bool = False) -> bool:
    """Measure one bench, print and store its figures; whether all bars were met."""
    from benchmarks.figures import Figure

    file = folder / f"{name}.json"
    file.unlink(missing_ok=True)  # a bench that breaks leaves no figures of an earlier run behind
    figures: list[Figure] = []
    for figure in import_module(f"benchmarks.{name}").measure(tiny=tiny):
        print(f"{name:<9} {figure}", flush=True)
        figures.append(figure)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [figure.as_row() for figure in figures]
    file.write_text(json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    return all(figure.ok for figure in figures)


def run_each(names: tuple[str, ...], arguments: list[str]) -> bool:
    """One process per bench, so that none sees another's settings, memory or warm caches."""
    statuses = []
    for name in names:
        bench = subprocess.Popen([sys.executable, __file__, name, *arguments], cwd=REPOSITORY)
        try:
            statuses.append(bench.wait())
        except KeyboardInterrupt:
            bench.terminate()  # and time to stop what it started
            bench.wait()
            raise
    return not any(statuses)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument("name", nargs="?", default="all", choices=["all", *BENCHES])
    parser.add_argument("--tiny", action="store_true", help="a small input, to see that the bench works")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the files")
    options = parser.parse_args(arguments)
    if options.name == "all":
        given = ["--results", str(options.results.resolve()), *(["--tiny"] if options.tiny else [])]
        return 0 if run_each(BENCHES, given) else 1
    return 0 if run_bench(options.name, options.results, tiny=options.tiny) else 1


if __name__ == "__main__":
    # In place of this folder: a bench's name is not a module's name.
    sys.path[:1] = [str(REPOSITORY), str(REPOSITORY / "platform")]
    # Before numpy is there: threads of the numeric libraries would spin, and their spinning counts as CPU time.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    from benchmarks.figures import end_in_order

    end_in_order()
    sys.exit(main(sys.argv[1:]))
