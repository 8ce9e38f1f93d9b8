"""Calls an API as its description allows, and as it does not, and holds every answer against the description."""

from collections.abc import Callable
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi import checks as openapi_checks

load_all_checks()
CHECKS = [
    schemathesis.checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
]


def exercise(
    operation: Any,
    mode: GenerationMode,
    *,
    carried: dict[str, Any],
    real: dict[str, Any],
    examples: int,
    call: Callable[..., Any] = lambda case, **carried: case.call(**carried),
) -> None:
    """Call one operation with generated arguments; a fault, or an answer outside the description, fails.

    `carried` goes with every request (headers, cookies); `real` names path parameters that lead to something.
    """

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def one(case: Any) -> None:
        for name in case.path_parameters if mode is GenerationMode.POSITIVE else ():
            case.path_parameters[name] = real.get(name, case.path_parameters[name])
        case.validate_response(call(case, **carried), checks=CHECKS, headers=carried["headers"])

    one()
