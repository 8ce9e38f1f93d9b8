"""Make .venv and install Starsieve into it: `python platform/starsieve/ops/bootstrap.py EXTRA…`. Standard library only.

Repeating it takes a moment: nothing is done while pyproject.toml, constraints.txt and the extras are as before.
"""

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
VENV = REPOSITORY / ".venv"
STAMP = VENV / "starsieve-installed"


def main(extras: list[str]) -> int:
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        print(f"Starsieve needs Python 3.11, 3.12 or 3.13; this is {sys.version.split()[0]}.", file=sys.stderr)
        return 1
    wanted = {fingerprint(extra) for extra in extras}
    installed = set(STAMP.read_text().split()) if STAMP.exists() else set()
    if wanted <= installed and (VENV / "bin" / "python").exists():
        return 0
    if not (VENV / "bin" / "python").exists():
        print("Making .venv …", flush=True)
        venv.create(VENV, with_pip=True)
    print(f"Installing Starsieve with {', '.join(extras)} (a few minutes the first time) …", flush=True)
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
               "-c", "constraints.txt", "-e", f".[{','.join(extras)}]"]  # fmt: skip
    result = subprocess.run(command, cwd=REPOSITORY, check=False)
    if result.returncode != 0:
        print(
            "The installation failed; the lines above say why. Mend it and run the same command again.", file=sys.stderr
        )
        return result.returncode
    still_there = {mark for mark in installed if mark.endswith(f"-{current()}")}
    STAMP.write_text("\n".join(sorted(wanted | still_there)))
    return 0


def current() -> str:
    """Digest of what decides the installation."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((REPOSITORY / name).read_bytes())
    return digest.hexdigest()[:16]


def fingerprint(extra: str) -> str:
    return f"{extra}-{current()}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
