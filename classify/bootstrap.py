"""What the classify page's script needs to begin: the questions, the tutorial, addresses, who is asking.

Never anything of a subject: those come from the API, without their truth.
"""

from typing import Any
from urllib.parse import urlencode

from django.core.files.storage import default_storage
from django.http import HttpRequest
from django.urls import reverse

from classify.access import Access
from classify.models import Classification
from classify.versions import definition_of
from starsieve.projects.markdown import render_markdown
from starsieve.projects.task_types import GRADES, BoxesTask, GradeTask, MultipleTask, SingleTask, Task


def bootstrap_of(request: HttpRequest, access: Access) -> dict[str, Any]:
    workflow, user = access.workflow, request.user
    definition = definition_of(access.version)
    return {
        "project": {
            "slug": workflow.project.slug,
            "title": workflow.project.title,
            "url": reverse("project", args=[workflow.project.slug]),
        },
        "workflow": {
            "id": workflow.pk,
            "name": workflow.name,
            "version": access.version.number,
            "first": definition.first,
            "tasks": {key: task_for_browser(task) for key, task in definition.tasks.items()},
        },
        "urls": _urls(request, access),
        "tutorial": [_step(step) for step in workflow.project.tutorial],
        "signed_in": user.is_authenticated,
        "username": user.get_username(),
        "who": f"user:{user.pk}" if user.is_authenticated else "visitor",
        "totals": {"classified": _classified(access)},
    }


def task_for_browser(task: Task) -> dict[str, Any]:
    """A task as the browser asks it: texts rendered, pictures as addresses, the way on resolved for each answer."""
    common = {
        "key": task.key,
        "type": task.type,
        "name": task.name,
        "question": task.question,
        "help": render_markdown(task.help) if task.help else "",
        "examples": [{"url": default_storage.url(each.image), "caption": each.caption} for each in task.examples],
        "required": task.required,
        "next": task.next,
    }
    return common | _of_its_type(task)


def _of_its_type(task: Task) -> dict[str, Any]:
    match task:
        case SingleTask():
            return {
                "answers": [
                    {"key": answer.key, "label": answer.label, "next": task.next_task(i)}
                    for i, answer in enumerate(task.answers)
                ]
            }
        case MultipleTask():
            return {"answers": [{"key": answer.key, "label": answer.label} for answer in task.answers]}
        case GradeTask():
            return {"labels": dict(zip(GRADES, task.labels, strict=True))}
        case BoxesTask():
            tools = [{"key": tool.key, "label": tool.label} for tool in task.tools]
            return {"tools": tools, "max_marks": task.max_marks}
        case _:
            return {}


def _step(step: dict[str, Any]) -> dict[str, str]:
    image = step.get("image", "")
    return {
        "title": step.get("title", ""),
        "text": render_markdown(step.get("text", "")),
        "image_url": default_storage.url(image) if image else "",
    }


def _urls(request: HttpRequest, access: Access) -> dict[str, str]:
    workflow, project = access.workflow, access.workflow.project
    return {
        "next": reverse("api_next", args=[workflow.pk]),
        "classifications": reverse("api_classifications", args=[workflow.pk]),
        "workflow": reverse("api_workflow", args=[workflow.pk]),
        "project": reverse("project", args=[project.slug]),
        "results": reverse("results", args=[project.slug, workflow.pk]),
        "login": _coming_back("account_login", request),
        "signup": _coming_back("account_signup", request),
    }


def _coming_back(name: str, request: HttpRequest) -> str:
    return f"{reverse(name)}?{urlencode({'next': request.path})}"


def _classified(access: Access) -> int:
    if access.volunteer_id is None:
        return 0
    return Classification.objects.filter(workflow=access.workflow, volunteer_id=access.volunteer_id).count()
