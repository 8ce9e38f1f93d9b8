"""`make demo`: prepare the demo's folder, then run the web server and one worker until Ctrl-C.

The demo runs the product as it is (debug off, hashed static files) on SQLite and a file-system broker.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

STARTUP_SECONDS = 60


def main() -> int:
    folder = Path(os.environ.get("DEMO_DIR", "var")).expanduser().resolve()
    port = _port(os.environ.get("PORT", "8000"))
    if port is None:
        return 2
    _environment(folder, port)
    _prepare()
    processes = _start(port)
    try:
        if not _answers(port, processes):
            return 1
        _greet(port, folder)
        return _watch(processes)
    except KeyboardInterrupt:
        print("\nStopping …", flush=True)
        return 0
    finally:
        _stop(processes)


def _port(text: str) -> int | None:
    if not text.isdigit() or not 0 < int(text) < 65536:
        print(f"PORT={text!r} is not a port number between 1 and 65535.", file=sys.stderr)
        return None
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(text)))
        except OSError as problem:
            print(f"Port {text} is not free ({problem.strerror}); choose another: make demo PORT=8001", file=sys.stderr)
            return None
    return int(text)


def _environment(folder: Path, port: int) -> None:
    """What the demo's processes are told; anything the caller has set already stays."""
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "secret_key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_text(secrets.token_urlsafe(64))
    defaults = {
        "STARSIEVE_VAR": str(folder),
        "DJANGO_SETTINGS_MODULE": "starsieve.settings",
        "HTTPS": "0",
        "LOG_JSON": "0",
        "LOG_LEVEL": "WARNING",
        "CSRF_TRUSTED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def _prepare() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    print("Preparing the database and the demo's galaxies …", flush=True)
    call_command("migrate", verbosity=0, interactive=False)
    _collect_static()
    call_command("load_demo")


def _collect_static() -> None:
    """Collect the static files, unless the folder already holds those of this code."""
    from django.conf import settings
    from django.core.management import call_command

    sources = [path for folder in settings.STATICFILES_DIRS for path in Path(folder).rglob("*") if path.is_file()]
    state = f"{settings.VERSION} {len(sources)} {max(path.stat().st_mtime_ns for path in sources)}"
    stamp = Path(settings.STATIC_ROOT) / ".collected"
    if stamp.exists() and stamp.read_text() == state:
        return
    call_command("collectstatic", verbosity=0, interactive=False)
    stamp.write_text(state)


def _start(port: int) -> list[subprocess.Popen[bytes]]:
    python = Path(sys.executable).parent
    web = [python / "gunicorn", "starsieve.wsgi", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread",
           "--workers", "2", "--threads", "4", "--log-level", "warning"]  # fmt: skip
    worker = [python / "celery", "--quiet", "-A", "starsieve", "worker", "--beat", "--concurrency", "1",
              "--loglevel", "WARNING", "--without-gossip", "--without-mingle"]  # fmt: skip
    # Sessions of their own: Ctrl-C reaches only this process, which stops them in order.
    return [subprocess.Popen([str(part) for part in command], start_new_session=True) for command in (web, worker)]


def _answers(port: int, processes: list[subprocess.Popen[bytes]]) -> bool:
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline and all(process.poll() is None for process in processes):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2).close()
            return True
        except OSError:  # URLError is one
            time.sleep(0.1)
    print("The demo did not start; the lines above say why.", file=sys.stderr)
    return False


def _greet(port: int, folder: Path) -> None:
    from starsieve.ops.demo.people import logins

    print(f"\n  Starsieve is at  http://127.0.0.1:{port}\n")
    print("  Sign in as       (or classify without signing in)")
    for login in logins():
        print(f"    {login.username:<10} {login.password:<14} {login.what}")
    print(f"\n  The demo's data stay in {folder}. Stop with Ctrl-C.\n", flush=True)


def _watch(processes: list[subprocess.Popen[bytes]]) -> int:
    """Wait until a process ends by itself, which is a fault; Ctrl-C and SIGTERM come as KeyboardInterrupt."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    while all(process.poll() is None for process in processes):
        time.sleep(0.5)
    ended = next(process for process in processes if process.poll() is not None)
    print(f"{Path(str(ended.args[0])).name} ended with status {ended.returncode}.", file=sys.stderr)  # type: ignore[index]
    return 1


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
