"""A process of a test site that answers questions of a test: a JSON line [kind, code] each, answered by a JSON line."""

import io
import json
import sys
import traceback
from contextlib import redirect_stdout
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "platform")]

import django  # noqa: E402

django.setup()

from django.apps import apps  # noqa: E402
from django.db import close_old_connections  # noqa: E402


def answer(kind: str, code: str) -> str:
    if kind == "evaluate":
        return json.dumps(eval(code, {"apps": apps}), default=str)
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "<test>", "exec"), {"__name__": "__main__"})
    return printed.getvalue()


for line in sys.stdin:
    close_old_connections()
    try:
        result = {"value": answer(*json.loads(line))}
    except Exception:
        result = {"error": traceback.format_exc()}
    print(json.dumps(result), flush=True)
