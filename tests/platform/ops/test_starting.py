"""The first commands a stranger types: bootstrap and demo server, with right and wrong input."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


def demo_server(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "starsieve.ops.demo_server"],
        cwd=REPOSITORY, env={"PATH": os.environ["PATH"], "DEMO_DIR": str(tmp_path / "demo"), **environment},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_a_port_that_is_taken_is_named_and_nothing_is_prepared(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = demo_server(tmp_path, PORT=str(port))
    assert result.returncode == 2
    assert f"Port {port} is not free" in result.stderr
    assert "make demo PORT=" in result.stderr
    assert not (tmp_path / "demo").exists()


def test_a_port_that_is_no_number_is_refused(tmp_path: Path) -> None:
    result = demo_server(tmp_path, PORT="eighty")
    assert result.returncode == 2
    assert "PORT='eighty' is not a port number" in result.stderr


def test_repeating_the_setup_does_nothing_and_takes_no_network() -> None:
    if not (REPOSITORY / ".venv" / "starsieve-installed").exists():
        pytest.skip("this virtual environment was not made by `make setup`")
    command = [sys.executable, "platform/starsieve/ops/bootstrap.py", "ml", "demo", "test"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=30)
    assert (result.returncode, result.stdout) == (0, "")
