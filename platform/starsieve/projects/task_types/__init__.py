"""The kinds of task a workflow can ask. To add one, copy the nearest file here and list its class in TASK_TYPES;
ARCHITECTURE.md ("How to add a task type") names the two other places: a reducer and a browser module.
"""

from starsieve.projects.task_types.base import Example, Frame, Task, ValueProblem
from starsieve.projects.task_types.boxes import BoxesTask
from starsieve.projects.task_types.grade import GRADES, GradeTask
from starsieve.projects.task_types.multiple import MultipleTask
from starsieve.projects.task_types.problems import SLUG, Problems, is_media_picture, is_storable, shown
from starsieve.projects.task_types.single import SingleTask
from starsieve.projects.task_types.text import TextTask

TASK_TYPES: dict[str, type[Task]] = {
    task_type.type: task_type for task_type in (SingleTask, MultipleTask, GradeTask, BoxesTask, TextTask)
}

__all__ = [
    "GRADES",
    "SLUG",
    "TASK_TYPES",
    "BoxesTask",
    "Example",
    "Frame",
    "GradeTask",
    "MultipleTask",
    "Problems",
    "SingleTask",
    "Task",
    "TextTask",
    "ValueProblem",
    "is_media_picture",
    "is_storable",
    "shown",
]
