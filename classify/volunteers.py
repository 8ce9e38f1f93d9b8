"""Who is classifying: the signed-in user's volunteer, or the visitor that the session knows.

The session of a visitor holds a random id; the Volunteer row is made with the first classification. When the visitor
signs in, the session still holds the id: the first request after that merges the visitor's work into the user's.

No double counting: one person's classifications of one subject count once. Where both volunteers classified a subject,
the visitor's row stays under the visitor's volunteer, whose `merged_into` is set: truth is kept, and
`ClassificationQuerySet.counted` (and with it every tally, count and retirement) leaves the row out. The subject is
counted anew in the same transaction.
"""

from uuid import UUID, uuid4

from django.contrib.sessions.backends.base import SessionBase
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from rest_framework.request import Request

from classify.counting import DERIVED
from classify.models import Classification, Lease, SubjectProgress, Volunteer
from classify.rebuild import recount_subject
from starsieve.accounts.models import ApiToken, User

VISITOR_KEY = "visitor"
TRIES = 5


def volunteer_of(request: HttpRequest | Request, *, create: bool) -> Volunteer | None:
    """The volunteer that this request's work belongs to; None if there is none yet and none shall be made.

    With `create`, a visitor without an id gets one in the session. Merges a visitor's work at the first request after
    signing in, whatever `create` says.
    """
    if isinstance(request.user, User):
        visitor = None if _by_token(request) else visitor_in(request.session)
        if visitor is not None:
            merge_visitor(user=request.user, visitor=visitor)
            del request.session[VISITOR_KEY]
        if create:
            return Volunteer.objects.get_or_create(user=request.user)[0]
        return Volunteer.objects.filter(user=request.user).first()
    visitor = remember_visitor(request.session) if create else visitor_in(request.session)
    if visitor is None:
        return None
    if create:
        found: Volunteer | None = Volunteer.objects.get_or_create(visitor=visitor)[0]
    else:
        found = Volunteer.objects.filter(visitor=visitor).first()
    return found.merged_into or found if found is not None else None


def visitor_in(session: SessionBase) -> UUID | None:
    """The visitor id that the session holds."""
    try:
        return UUID(session[VISITOR_KEY])
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def remember_visitor(session: SessionBase) -> UUID:
    """The session's visitor id, given now if there is none."""
    visitor = visitor_in(session)
    if visitor is None:
        visitor = uuid4()
        session[VISITOR_KEY] = str(visitor)
    return visitor


def needs_merge(request: HttpRequest | Request) -> bool:
    return isinstance(request.user, User) and not _by_token(request) and VISITOR_KEY in request.session


def _by_token(request: HttpRequest | Request) -> bool:
    return isinstance(getattr(request, "auth", None), ApiToken)


def merge_visitor(*, user: User, visitor: UUID) -> None:
    """Give the visitor's work to the user.

    One transaction. Locks the visitor's Volunteer row first (a classification of the visitor waits, then goes to the
    user). A user without a volunteer takes the visitor's row over as it is. Otherwise writes the user's volunteer into
    the visitor's classifications and leases, except of subjects that the user classified (holds) too, sets
    `merged_into`, and recounts the subjects that both classified under their locks. If the user classifies one of the
    subjects at the same moment, or gets a volunteer, the database refuses the second row and the whole merge starts
    again.
    """
    for attempt in range(TRIES):
        try:
            return _merge(user, visitor)
        except IntegrityError:
            if attempt == TRIES - 1:
                raise


@transaction.atomic
def _merge(user: User, visitor: UUID) -> None:
    old = Volunteer.objects.select_for_update().filter(visitor=visitor).first()
    if old is None or old.merged_into_id is not None or old.user_id is not None:
        return
    new = Volunteer.objects.filter(user=user).first()
    if new is None:
        old.user = user
        old.save(update_fields=["user"])
        return
    of_both = _also_classified_by(new)
    Classification.objects.filter(~Exists(of_both), volunteer=old).update(volunteer=new)
    old.merged_into = new
    old.save(update_fields=["merged_into"])
    _give_leases(old, new)
    _recount_left_behind(old)


def _give_leases(old: Volunteer, new: Volunteer) -> None:
    """What the visitor was looking at is kept for the user; theirs would else hide it from them."""
    own = Lease.objects.filter(volunteer=new, workflow_id=OuterRef("workflow_id"), subject_id=OuterRef("subject_id"))
    leases = Lease.objects.filter(volunteer=old)
    leases.filter(~Exists(own)).update(volunteer=new)
    leases.delete()


def _also_classified_by(volunteer: Volunteer) -> "QuerySet[Classification]":
    return Classification.objects.filter(
        volunteer=volunteer, workflow_id=OuterRef("workflow_id"), subject_id=OuterRef("subject_id")
    )


def _recount_left_behind(old: Volunteer) -> None:
    """Count the subjects anew whose second classification stays behind under the old volunteer."""
    rows = (
        SubjectProgress.objects.select_for_update(of=("self",))
        .select_related("workflow__current")
        .filter(Exists(_also_classified_by(old)))
        .order_by("pk")
    )
    for progress in rows:
        if progress.workflow.current is not None:
            recount_subject(progress, progress.workflow.current)
            progress.save(update_fields=DERIVED)
