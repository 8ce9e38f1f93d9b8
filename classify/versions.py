"""Which workflow version an answer belongs to, and whether answers to two versions may be counted together.

Versions are immutable, so each process parses a version's definition once.
"""

from starsieve.projects.definitions import WorkflowDefinition
from starsieve.projects.models import Workflow, WorkflowVersion

VERSIONS_KEPT = 512

# The time of creation tells apart two databases (or two tests) that give the same id to different versions.
Key = tuple[int, str]
_parsed: dict[Key, WorkflowDefinition] = {}
_comparable: dict[tuple[Key, Key], bool] = {}


def definition_of(version: WorkflowVersion) -> WorkflowDefinition:
    """The version's parsed definition; reads the deferred `definition` column only on the first use in a process."""
    key = _key(version)
    parsed = _parsed.get(key)
    if parsed is None:
        if len(_parsed) >= VERSIONS_KEPT:
            _parsed.clear()
        parsed = _parsed[key] = version.parsed
    return parsed


def version_numbered(workflow: Workflow, number: str) -> WorkflowVersion | None:
    """The workflow's version "3.1", without a query if it is the current one and already loaded."""
    if workflow.current is not None and workflow.current.number == number:
        return workflow.current
    major, _, minor = number.partition(".")
    if not (_is_number(major) and _is_number(minor)):
        return None
    return workflow.versions.filter(major=int(major), minor=int(minor)).first()


def counts_towards(answered: WorkflowVersion, current: WorkflowVersion) -> bool:
    """Whether classifications of `answered` count in the results of `current`.

    They do where both ask the same: versions of one major number (only wording differs), and versions of another major
    number that differ in the retirement rule alone. Answers to other questions stay in the classifications and in
    exports, but no tally mixes them in.
    """
    if answered.pk == current.pk or answered.major == current.major:
        return True
    keys = (_key(answered), _key(current))
    if keys not in _comparable:
        if len(_comparable) >= VERSIONS_KEPT:
            _comparable.clear()
        _comparable[keys] = _asks_the_same(definition_of(answered), definition_of(current))
    return _comparable[keys]


def _asks_the_same(one: WorkflowDefinition, other: WorkflowDefinition) -> bool:
    one, other = one.without_texts(), other.without_texts()
    return one.first == other.first and one.tasks == other.tasks


def _key(version: WorkflowVersion) -> Key:
    return version.pk, version.created_at.isoformat()


def _is_number(text: str) -> bool:
    return 0 < len(text) <= 9 and text.isascii() and text.isdecimal() and (text == "0" or text[0] != "0")
