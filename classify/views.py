"""The page on which people classify."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from classify.access import access_to
from classify.bootstrap import bootstrap_of
from classify.volunteers import remember_visitor


@require_safe
@never_cache
@ensure_csrf_cookie
def classify(request: HttpRequest, slug: str, workflow_id: int) -> HttpResponse:
    """The classifier, or why it is closed.

    A visitor's session gets its id here and not with the first answer: a browser that sends its first answer twice,
    because the receipt was lost, must be the same visitor both times.
    """
    access = access_to(request, workflow_id, slug=slug)
    if access.closed is None and not request.user.is_authenticated:
        remember_visitor(request.session)
    context = {
        "project": access.workflow.project,
        "grants": access.grants,
        "workflow": access.workflow,
        "tab": "classify",
        "closed": access.closed,
        "bootstrap": bootstrap_of(request, access) if access.closed is None else None,
    }
    return render(request, "classify/classify.html", context)
