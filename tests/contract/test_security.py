"""Headers, templates and start-up: what must hold on every page and in every production process."""

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.contract.markup import faults_of

REPOSITORY = Path(__file__).resolve().parents[2]
PRODUCTION = {
    "SECRET_KEY": "a-long-random-string-made-for-this-test-only-0123456789-abcdefghijk",
    "ALLOWED_HOSTS": "starsieve.example.org",
    "DJANGO_SETTINGS_MODULE": "starsieve.settings",
    "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "platform")]),
    "PATH": os.environ["PATH"],
    "OMP_NUM_THREADS": "1",
}


def python(*arguments: str, folder: Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh process with production's environment and nothing of ours."""
    (folder / "static").mkdir(exist_ok=True)  # collectstatic makes it
    environment = PRODUCTION | {"STARSIEVE_VAR": str(folder)} | environment
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=check
    )


# --- Templates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "html",
    [
        "<p style='color: red'>",
        "<style>p {}</style>",
        "<script>alert(1)</script>",
        "<script type=module>alert(1)</script>",
        "<button onclick=go()>",
        "<a href=' JavaScript:go()'>",
        "<form method=POST><button></form>",
    ],
)
def test_the_finder_finds(html: str) -> None:
    assert faults_of(html)


def test_the_finder_lets_data_and_safe_forms_pass() -> None:
    assert not faults_of(
        '<script type="application/json">{}</script><script type="module" src="/x.js"></script>'
        '<form method="post"><input type="hidden" name="csrfmiddlewaretoken"></form><form><input name="q"></form>'
    )


TEMPLATES = sorted((REPOSITORY / "templates").rglob("*.html"))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(REPOSITORY / "templates")))
def test_no_template_holds_inline_code(template: Path) -> None:
    source = template.read_text()
    html = re.sub(r"{%\s*csrf_token\s*%}", '<input name="csrfmiddlewaretoken">', source)
    html = re.sub(r"{%\s*extends.*?%}|{#.*?#}", "", html)
    html = re.sub(r"{{.*?\|json_script.*?}}", "", html)
    html = re.sub(r"{%.*?%}|{{.*?}}", "", html)

    assert faults_of(html) == []


UNSAFE = re.compile(r"\|\s*safe\b|autoescape\s+off|mark_safe")
# Markdown that projects/markdown cleans on the server arrives under a name that ends in _html or under "help";
# field.html shows Django's own help texts.
CLEANED = re.compile(r"{{\s*(?:[\w.]*_html|[\w.]*\.html|[\w.]*help_text|[\w.]*\.help)\s*\|\s*safe\s*}}")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(REPOSITORY / "templates")))
def test_only_cleaned_markdown_is_printed_unescaped(template: Path) -> None:
    source = CLEANED.sub("", template.read_text())

    assert not UNSAFE.search(source), UNSAFE.search(source)


def test_our_scripts_neither_build_code_from_text_nor_write_markup_into_the_page() -> None:
    forbidden = re.compile(r"\beval\(|new Function\(|\.outerHTML\s*=|insertAdjacentHTML|document\.write")
    for script in (REPOSITORY / "static" / "js").rglob("*.js"):
        assert not forbidden.search(script.read_text()), script


# --- Start-up -----------------------------------------------------------------------------------------------------


def test_the_deployment_check_is_clean(tmp_path: Path) -> None:
    run = python("manage.py", "check", "--deploy", "--fail-level", "WARNING", folder=tmp_path, check=False)

    assert run.returncode == 0, run.stderr
    assert "no issues (0 silenced)" in run.stdout


@pytest.mark.parametrize("key", ["", None])
def test_nothing_starts_without_a_secret_key(tmp_path: Path, key: str | None) -> None:
    environment = {name: value for name, value in PRODUCTION.items() if name != "SECRET_KEY"}
    environment |= {"STARSIEVE_VAR": str(tmp_path)} | ({"SECRET_KEY": key} if key is not None else {})

    run = subprocess.run(
        [sys.executable, "manage.py", "check"], env=environment, cwd=REPOSITORY, capture_output=True, text=True
    )

    assert run.returncode != 0
    assert "SECRET_KEY is not set. Set it in the environment" in run.stderr


VISIT = """
import json, django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from starsieve.accounts.models import User
User.objects.create_user("ada", "ada@example.org", "Volunteer!23")
from django.test import Client

from tests.contract.markup import faults_of
client = Client(HTTP_HOST="starsieve.example.org")
plain = client.get("/accounts/login/")
form = client.get("/accounts/login/", secure=True)
signed_in = client.post("/accounts/login/", {"login": "ada", "password": "Volunteer!23"}, secure=True)
foreign = Client(HTTP_HOST="evil.example").get("/accounts/login/", secure=True)
print(json.dumps({
    "plain": [plain.status_code, plain["Location"]],
    "hsts": form["Strict-Transport-Security"],
    "cookies": {
        name: {key: morsel[key] for key in ("secure", "httponly", "samesite")}
        for name, morsel in (*form.cookies.items(), *signed_in.cookies.items())
    },
    "foreign": foreign.status_code,
    "probe": client.get("/healthz").status_code,
}))
"""


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a production process answers, and the lines it logs."""
    folder = tmp_path_factory.mktemp("production")
    manifest = folder / "static" / "staticfiles.json"
    run = python("manage.py", "collectstatic", "--noinput", folder=folder, check=False)
    assert run.returncode == 0, run.stderr
    assert manifest.exists()
    run = python("-c", VISIT, folder=folder, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1]), [json.loads(line) for line in run.stderr.splitlines()]


def test_production_speaks_https_only(visit: Any) -> None:
    answers, _ = visit

    assert answers["plain"] == [301, "https://starsieve.example.org/accounts/login/"]
    assert "max-age=31536000" in answers["hsts"]
    assert answers["probe"] == 200  # the container's own probe speaks plain HTTP


def test_production_cookies_are_for_https_and_for_this_site(visit: Any) -> None:
    answers, _ = visit

    assert answers["cookies"]["sessionid"] == {"secure": True, "httponly": True, "samesite": "Lax"}
    assert answers["cookies"]["csrftoken"]["secure"] is True
    assert answers["cookies"]["csrftoken"]["samesite"] == "Lax"


def test_production_answers_to_its_own_name_only(visit: Any) -> None:
    answers, _ = visit

    assert answers["foreign"] == 400


def test_production_logs_one_json_object_a_line(visit: Any) -> None:
    _, lines = visit

    requests = [line for line in lines if line["event"] == "request"]
    assert {"method", "path", "status", "ms", "request_id", "level", "timestamp"} <= set(requests[0])
    assert any(line["logger"].startswith("django.security") for line in lines)  # libraries' lines have the same shape
    assert "Volunteer!23" not in json.dumps(lines)


LOAD_THE_WEB = """
import sys, starsieve.wsgi, starsieve.urls
from django.urls import get_resolver
def walk(patterns):
    for each in patterns:
        walk(each.url_patterns) if hasattr(each, "url_patterns") else each.callback
walk(get_resolver().url_patterns)
import classify.services, ml_worker.services, starsieve.catalogues.services, starsieve.projects.services
print([name for name in ("torch", "ml_worker.nets", "skimage", "photutils") if name in sys.modules])
"""


def test_a_web_process_never_imports_the_networks(tmp_path: Path) -> None:
    assert python("-c", LOAD_THE_WEB, folder=tmp_path).stdout.strip() == "[]"


def test_platform_is_still_the_standard_library_s(tmp_path: Path) -> None:
    code = "import platform; print(platform.__file__); platform.system()"

    run = python("-c", code, folder=tmp_path)

    assert Path(run.stdout.strip()).parent == Path(sysconfig.get_path("stdlib"))
    assert not (REPOSITORY / "platform" / "__init__.py").exists()
    assert [path.name for path in (REPOSITORY / "platform").iterdir() if path.name != "__pycache__"] == ["starsieve"]


# --- Constructs that other platforms were broken by (one line each in the advisories) -----------------------------

OUR_CODE = [
    path
    for folder in ("platform", "classify", "aggregation", "ml_worker")
    for path in sorted((REPOSITORY / folder).rglob("*.py"))
    if "migrations" not in path.parts
]
FORBIDDEN = {
    "pickle runs code from data": re.compile(r"^\s*(?:import|from) (?:c?pickle|dill|joblib|shelve|marshal)\b", re.M),
    "eval and exec run code from data": re.compile(r"(?<![\w.])(?:eval|exec)\("),
    "torch.load unpickles, unless told to take weights only": re.compile(r"torch\.load\((?![^)]*weights_only=True\))"),
    "yaml.load builds objects": re.compile(r"yaml\.load\("),
    "a view without CSRF changes state for anybody's page": re.compile(
        r"^@csrf_exempt(?!  # it changes nothing)", re.M
    ),
    "XML from strangers expands entities": re.compile(
        r"^\s*(?:import|from) (?:xml\.(?!sax\.saxutils)(?!.*# reads what matplotlib wrote)|lxml)", re.M
    ),
    "a shell runs what a name contains": re.compile(r"shell=True|os\.system\("),
    "numpy unpickles object arrays": re.compile(r"allow_pickle=True"),
}


@pytest.mark.parametrize("reason", FORBIDDEN)
def test_no_construct_that_runs_code_from_data(reason: str) -> None:
    found = [str(path.relative_to(REPOSITORY)) for path in OUR_CODE if FORBIDDEN[reason].search(path.read_text())]

    assert found == [], reason


# Statements put together from names of our own tables and columns, never from what somebody sent; each was read.
READ_STATEMENTS = {
    "classify/queue.py": 1,
    "platform/starsieve/catalogues/freezing.py": 2,
    "platform/starsieve/catalogues/snapshots/state.py": 2,
    "platform/starsieve/projects/bulk.py": 1,
}


def test_sql_put_together_from_text_has_been_read() -> None:
    pasted = re.compile(r"\.(?:execute|raw|extra)\(\s*(?:f[\"']|[\"'][^\"']*[\"']\s*(?:%|\.format))")
    counts = {str(path.relative_to(REPOSITORY)): len(pasted.findall(path.read_text())) for path in OUR_CODE}

    assert {path: count for path, count in counts.items() if count} == READ_STATEMENTS


@pytest.mark.django_db
def test_a_page_from_elsewhere_cannot_post_for_a_visitor() -> None:
    client = Client(enforce_csrf_checks=True)

    assert client.post("/account/theme/", {"theme": "light"}).status_code == 403
