"""docker-compose.yml is true: it is valid, hardened, and its own start commands run against PostgreSQL and Redis."""

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.services import free_port
from tests.support.site import Site, new_site, wait_until

REPOSITORY = Path(__file__).resolve().parents[3]
SECRETS = {"SECRET_KEY": "k" * 60, "POSTGRES_PASSWORD": "p", "ALLOWED_HOSTS": "starsieve.example.org"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text()))


def test_compose_file_is_valid(tmp_path: Path) -> None:
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not on this machine (Debian's package validates without an engine)")
    environment = {"PATH": os.environ["PATH"], **SECRETS}
    command = ["docker-compose", "-f", str(REPOSITORY / "docker-compose.yml"), "config", "--quiet"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_compose_has_no_secret_and_demands_them(compose: dict[str, Any]) -> None:
    environment = compose["x-environment"]
    assert environment["SECRET_KEY"].startswith("${SECRET_KEY:?")
    assert compose["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")


@pytest.mark.parametrize("service", ["web", "worker", "scheduler", "migrate"])
def test_our_containers_are_read_only_and_without_capabilities(compose: dict[str, Any], service: str) -> None:
    settings = compose["services"][service]
    assert settings["read_only"] is True
    assert settings["cap_drop"] == ["ALL"]
    assert settings["security_opt"] == ["no-new-privileges:true"]


def test_the_image_runs_as_a_plain_user_with_a_health_check() -> None:
    stages = (REPOSITORY / "Dockerfile").read_text().split("\nFROM ")
    for stage in stages[2:]:
        users = [line.split()[1] for line in stage.splitlines() if line.startswith("USER ")]
        assert users[-1] == "starsieve"
        assert "HEALTHCHECK" in stage


def test_dockerfile_and_compose_start_the_same_commands(compose: dict[str, Any]) -> None:
    commands = [
        json.loads(line[4:])
        for line in (REPOSITORY / "Dockerfile").read_text().splitlines()
        if line.startswith("CMD [")
    ]
    assert commands == [compose["services"]["web"]["command"], compose["services"]["worker"]["command"]]


@pytest.fixture
def production(tmp_path: Path) -> Iterator[Site]:
    if not (os.environ.get("TEST_DATABASE_URL") and os.environ.get("TEST_REDIS_URL")):
        pytest.fail("run by `make test`, which starts PostgreSQL and Redis (or set TEST_DATABASE_URL, TEST_REDIS_URL)")
    with new_site(tmp_path) as site:
        site.environment |= {"HTTPS": "1", "TRUSTED_PROXIES": "1", "LOG_JSON": "1"}
        yield site


@pytest.mark.services
def test_the_start_commands_of_compose_run_against_postgresql_and_redis(
    production: Site, compose: dict[str, Any], tmp_path: Path
) -> None:
    services = compose["services"]
    port = free_port()
    web = [part.replace("0.0.0.0:8000", f"127.0.0.1:{port}") for part in services["web"]["command"]]
    beat = [part.replace("/tmp/", f"{tmp_path}/") for part in services["scheduler"]["command"]]
    production.url = f"http://127.0.0.1:{port}"
    for command in (web, services["worker"]["command"], beat):
        production.start(command)
    ready = wait_until(lambda: _json(production.url + "/readyz"), seconds=60, what="/readyz to answer 200")
    assert ready["status"] == "ready"
    ping = services["worker"]["healthcheck"]["test"][1:]
    wait_until(lambda: _succeeds(production, ping), seconds=60, what="the worker to answer its health check")
    with pytest.raises(urllib.error.HTTPError) as redirected:
        urllib.request.build_opener(_NoRedirect).open(production.url + "/", timeout=5)
    redirected.value.close()
    assert redirected.value.code == 301
    assert redirected.value.headers["Location"].startswith("https://")
    assert all(process.poll() is None for process in production.processes)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any, **options: Any) -> None:
        return None


def _json(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return json.load(response)
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return None
    except OSError:
        return None


def _succeeds(site: Site, command: list[str]) -> bool:
    program = str(Path(sys.executable).parent / command[0])
    result = subprocess.run(
        [program, *command[1:]], cwd=site.folder, env=site.environment, capture_output=True, check=False, timeout=60
    )
    return result.returncode == 0
