"""The OpenAPI description holds against a server that runs: gunicorn, its own database, the demo's content."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests.support.fuzzing import exercise
from tests.support.site import Site, new_site

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]
EXAMPLES = 4
MAKE_TOKEN = """
from starsieve.accounts.models import User
from starsieve.accounts.services import make_token
print(make_token(user=User.objects.get(username="admin"), name="fuzz", scope="admin", expires_at=None)[1])
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with new_site(tmp_path_factory.mktemp("running")) as site:
        site.manage("load_demo", "--small")
        site.start_web()
        yield site


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
def test_no_answer_of_the_running_server_is_a_fault_or_outside_the_document(demo: Site, mode: GenerationMode) -> None:
    key = demo.execute(MAKE_TOKEN).strip()
    carried: dict[str, Any] = {"headers": {"Authorization": f"Token {key}"}}
    real = {
        "pk": 1,
        "id": 1,
        "workflow_id": 1,
        "subject_id": 1,
        "index": 0,
        "slug": "galaxy-zoo",
        "name": "subjects.csv",
    }
    exercised = 0
    for result in schemathesis.openapi.from_url(f"{demo.url}/api/v1/schema").get_all_operations():
        operation = result.ok()
        try:
            exercise(operation, mode, carried=carried, real=real, examples=EXAMPLES)
            exercised += 1
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, operation.label  # it takes nothing that could be wrong
    assert exercised > 20
