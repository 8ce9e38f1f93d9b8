"""Taking subjects in: row by row, in batches, again and again without harm.

A row that is refused is reported with its place and column, and costs nothing else. Reading a manifest's file is
manifests.py's part, reading a picture's file is sources.py's.
"""

import json
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from itertools import islice
from json.encoder import encode_basestring_ascii as quote
from math import isfinite
from typing import Any, NamedTuple

from django.db import IntegrityError, connection, transaction
from django.db.models.expressions import RawSQL

from starsieve.accounts.models import User
from starsieve.projects.arrivals import announce_arrivals
from starsieve.projects.background import WRITERS, Submit, writing_behind
from starsieve.projects.bulk import Always, Column, analyse, insert_columns
from starsieve.projects.models import Project, Subject, SubjectImport, SubjectSet
from starsieve.projects.stamps import MOST_FRAMES, Stamp, StampError, frame_entry, store_frame
from starsieve.projects.task_types import is_storable

BATCH_SIZE = 5000
KNOWN_REFERENCES = 1000
FEW = 1000  # subjects, through which a search is quick anyhow
KEPT_REJECTS = 1000
LONGEST_NAME = 200
LARGEST_METADATA = 20_000  # characters of all keys and values together
# A row source of the texts in one parameter: a placeholder for each would be parsed and planned one by one.
ELEMENTS = {"postgresql": "SELECT json_array_elements_text(%s)", "sqlite": "SELECT value FROM json_each(%s)"}

encode_finite = json.JSONEncoder(allow_nan=False).encode

ReadFrame = Callable[[Any], Stamp]


class RowError(ValueError):
    """One row is refused. `column` names the column at fault, if it is a single one."""

    def __init__(self, column: str, message: str) -> None:
        self.column = column
        self.message = message
        super().__init__(f"{column}: {message}" if column else message)


@dataclass(slots=True)
class SubjectRow:
    """One row of a manifest or catalogue. `frames` holds (column, reference) pairs; a reference is whatever
    `read_frame` understands: a path, a position. `number` is the row's place, the heading being row 1.
    """

    number: int
    name: str
    frames: tuple[tuple[str, Any], ...]
    ra: float | None = None
    dec: float | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    hidden_metadata: dict[str, Any] = field(default_factory=dict)
    origin: str = ""  # the set's, unless the row says its own


@dataclass(frozen=True)
class RefusedRow:
    """A row that could not even be read."""

    number: int
    name: str
    error: RowError


@dataclass(frozen=True)
class Reject:
    row: int
    name: str
    column: str
    message: str


@dataclass
class ImportReport:
    """What an import did. `rejects` keeps the first thousand; `on_reject` sees them all."""

    created: int = 0
    unchanged: int = 0
    rejected: int = 0
    rejects: list[Reject] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return self.created + self.unchanged + self.rejected


def _printable(text: str) -> str:
    """The text with what a database or terminal cannot take replaced: a reject may be about just that."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "�")


class Content(NamedTuple):
    """What a subject holds besides its name, by column, as the bulk insertion takes it: JSON as its text."""

    frames: str
    metadata: str
    hidden_metadata: str
    origin: str
    ra: float | None
    dec: float | None
    wcs: str | None
    subject_set_id: int

    def values(self) -> tuple[Any, ...]:
        """The same as a query returns it."""
        wcs = None if self.wcs is None else json.loads(self.wcs)
        texts = (self.frames, self.metadata, self.hidden_metadata)
        return (*map(json.loads, texts), self.origin, self.ra, self.dec, wcs, self.subject_set_id)


class Known(NamedTuple):
    """What a reference leads to, frame by frame as JSON, and whether its pictures are in the media storage."""

    frames: tuple[str, ...]
    wcs: str | None
    is_stored: bool


New = dict[str, tuple[int, Content]]  # name → the row's number and content


@dataclass
class _Run:
    """One import on its way."""

    project: Project
    subject_set: SubjectSet
    read_frame: ReadFrame
    dry_run: bool
    on_reject: Callable[[Reject], None] | None
    submit: Submit
    # What is being stored while the next rows are read, oldest first.
    being_stored: "deque[tuple[New, Future[None]]]" = field(default_factory=deque)
    report: ImportReport = field(default_factory=ImportReport)
    # Rows may share a picture: what the latest references led to.
    known: OrderedDict[str, Known] = field(default_factory=OrderedDict)
    # How many subjects the planner has been told of. Unaware that the project has grown, it would look for the names of
    # each batch among all of its subjects.
    analysed: int = FEW
    # A dry run stores nothing that a later batch could be compared with, so it remembers: name → row and content.
    rehearsed: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def reject(self, number: int, name: str, error: RowError) -> None:
        reject = Reject(number, _printable(name[:LONGEST_NAME]), _printable(error.column), _printable(error.message))
        self.report.rejected += 1
        if len(self.report.rejects) < KEPT_REJECTS:
            self.report.rejects.append(reject)
        if self.on_reject is not None:
            self.on_reject(reject)

    def compare(self, content: Content, stored: tuple[Any, ...], where: str) -> None:
        """Count the subject as unchanged; raises RowError if what is stored differs."""
        columns = zip(Content._fields, content.values(), stored, strict=True)
        differing = [name for name, value, other in columns if value != other]
        if differing:
            what = ", ".join(name.removesuffix("_id").replace("_", " ") for name in differing)
            raise RowError(
                "name", f"duplicate: {where} has a subject of this name with other {what}; give this one another name"
            )
        self.report.unchanged += 1


def import_subjects(
    *,
    project: Project,
    subject_set: SubjectSet,
    rows: Iterable[SubjectRow | RefusedRow],
    read_frame: ReadFrame,
    source: str = "",
    user: User | None = None,
    dry_run: bool = False,
    on_reject: Callable[[Reject], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> ImportReport:
    """Store the rows as subjects of the set; refuse those at fault and say why.

    Writes pictures into the media storage and Subject rows in batches of 5000, each batch in a transaction of its own,
    together with what the arrival listeners write of it; locks nothing. On PostgreSQL two more connections store
    batches while the next is read. A name that the project has with the same content counts as unchanged, with other
    content as refused, so the same import can run again after any interruption. When it ends, however it ends, the
    arrival listeners hear of the whole set and a SubjectImport is written, in one more transaction. A dry run checks
    everything and writes nothing.
    """
    if subject_set.project_id != project.pk:
        raise ValueError(f"subject set {subject_set.name!r} belongs to another project than {project.slug!r}")
    with writing_behind() as submit, ExitStack() as at_the_end:
        run = _Run(project, subject_set, read_frame, dry_run, on_reject, submit)
        if not dry_run:
            at_the_end.callback(_finish, run, source, user)
        for _ in range(WRITERS):  # should one batch have failed, the other counts all the same
            at_the_end.callback(_settle, run)
        for batch in _batches(rows):
            _import_batch(run, batch)
            if on_progress is not None:
                on_progress(len(batch))
    return run.report


def _finish(run: _Run, source: str, user: User | None) -> None:
    with transaction.atomic():
        announce_arrivals(run.subject_set)
        SubjectImport.objects.create(
            project=run.project,
            subject_set=run.subject_set,
            source=_printable(source[-255:]),
            created_by=user,
            created_count=run.report.created,
            unchanged_count=run.report.unchanged,
            rejected_count=run.report.rejected,
            rejects=[asdict(reject) for reject in run.report.rejects],
        )


def _batches(rows: Iterable[SubjectRow | RefusedRow]) -> Iterator[list[SubjectRow | RefusedRow]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, BATCH_SIZE)):
        yield batch


def _import_batch(run: _Run, batch: list[SubjectRow | RefusedRow]) -> None:
    names = {row.name for row in batch}
    if not all(names.isdisjoint(earlier) for earlier, _ in run.being_stored):
        _settle(run)  # what is being stored cannot be looked up yet
    stored = _stored(run, [row.name for row in batch if isinstance(row, SubjectRow)])
    new: New = {}
    for row in batch:
        try:
            if isinstance(row, RefusedRow):
                raise row.error
            _take_row(run, row, stored, new)
        except RowError as error:
            run.reject(row.number, row.name, error)
    if run.dry_run:
        run.report.created += len(new)
    elif new:
        _settle(run, WRITERS - 1)
        run.being_stored.append((new, run.submit(partial(_create, run, new))))


def _settle(run: _Run, still_storing: int = 0) -> None:
    """Wait until no more batches than this are being stored."""
    while len(run.being_stored) > still_storing:
        _settle_one(run, *run.being_stored.popleft())


def _settle_one(run: _Run, new: New, storing: "Future[None]") -> None:
    try:
        storing.result()
    except IntegrityError:
        # Another import took one of the names meanwhile; now it can be seen and compared.
        stored = _stored(run, list(new))
        for name in stored.keys() & new.keys():
            number, content = new.pop(name)
            try:
                run.compare(content, stored[name], "this project")
            except RowError as error:
                run.reject(number, name, error)
        if new:
            _create(run, new)
    run.report.created += len(new)
    if run.report.created > 2 * run.analysed:
        analyse(Subject, columns=("project_id", "name"))
        run.analysed = run.report.created


def _take_row(run: _Run, row: SubjectRow, stored: Mapping[str, tuple[Any, ...]], new: New) -> None:
    """Into `new`, or compared with the subject that has the name already."""
    _check_name(row.name)
    _check_position(row.ra, row.dec)
    is_new = row.name not in stored and row.name not in new
    content = _content_of(run, row, store=is_new and not run.dry_run)
    if run.dry_run and is_new and _was_rehearsed(run, row, content):
        run.report.unchanged += 1
    elif is_new:
        new[row.name] = (row.number, content)
    elif row.name in stored:
        run.compare(content, stored[row.name], "this project")
    else:
        number, other = new[row.name]
        run.compare(content, other.values(), f"row {number}")


def _was_rehearsed(run: _Run, row: SubjectRow, content: Content) -> bool:
    digest = blake2b(repr(content).encode(), digest_size=16).digest()
    number, earlier = run.rehearsed.setdefault(row.name, (row.number, digest))
    if earlier != digest:
        raise RowError("name", f"duplicate: row {number} has this name with other content; give this one another name")
    return number != row.number


def _stored(run: _Run, names: list[str]) -> dict[str, tuple[Any, ...]]:
    """What the project has under these names, in the order of Content."""
    usable = json.dumps([name for name in names if is_storable(name)])
    asked = RawSQL(ELEMENTS[connection.vendor], [usable])
    found = Subject.objects.filter(project=run.project, name__in=asked).order_by()
    return {name: tuple(content) for name, *content in found.values_list("name", *Content._fields)}


def _create(run: _Run, new: New) -> None:
    """Store the rows and their places in the queues. May run in another thread: `run` is only read."""
    contents = zip(*(content for _, content in new.values()), strict=True)
    with transaction.atomic():
        newest = Subject.objects.order_by("-id").values_list("id", flat=True).first() or 0
        columns: dict[str, Column] = {
            "project_id": Always(run.project.pk),
            "name": list(new),
            **dict(zip(Content._fields, contents, strict=True)),
            "created_at": Always(datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")),
        }
        insert_columns(Subject, columns, len(new))
        announce_arrivals(run.subject_set, above=newest)


def _content_of(run: _Run, row: SubjectRow, *, store: bool) -> Content:
    metadata = _checked_json(row.metadata, "metadata")
    hidden_metadata = _checked_json(row.hidden_metadata, "hidden metadata")
    known = [_frames_of(run, column, reference, store=store) for column, reference in row.frames]
    frames = known[0].frames if len(known) == 1 else [frame for one in known for frame in one.frames]
    if not 1 <= len(frames) <= MOST_FRAMES:
        raise RowError("image", f"{len(frames)} frames; a subject has 1 to {MOST_FRAMES}")
    return Content(
        frames=f"[{', '.join(frames)}]",
        metadata=metadata,
        hidden_metadata=hidden_metadata,
        origin=row.origin or run.subject_set.origin,
        ra=row.ra,
        dec=row.dec,
        wcs=known[0].wcs,
        subject_set_id=run.subject_set.pk,
    )


def _frames_of(run: _Run, column: str, reference: Any, *, store: bool) -> Known:
    """The frames of a reference: from an earlier row, unless that did not store what must be stored now."""
    is_text = isinstance(reference, str)  # what a test or the demo passes may have no hash
    known = run.known.get(reference) if is_text else None
    if known is not None and (known.is_stored or not store):
        return known
    stamp = _read(run.read_frame, column, reference)
    keep = store_frame if store else frame_entry
    frames = [json.dumps(keep(p.image, band=p.band, stretch=p.stretch)) for p in stamp.pictures]
    known = Known(tuple(frames), None if stamp.wcs is None else json.dumps(stamp.wcs), store)
    if is_text:
        run.known[reference] = known
        if len(run.known) > KNOWN_REFERENCES:
            run.known.popitem(last=False)
    return known


def _read(read_frame: ReadFrame, column: str, reference: Any) -> Stamp:
    try:
        return read_frame(reference)
    except StampError as error:
        raise RowError(column, str(error)) from None


def _check_name(name: str) -> None:
    if not name:
        raise RowError("name", "is empty; every subject needs a name of its own")
    if len(name) > LONGEST_NAME:
        raise RowError("name", f"is longer than {LONGEST_NAME} characters")
    if not name.isprintable():  # neither are NUL and half of a surrogate pair, which cannot be stored
        raise RowError("name", "has characters that cannot be shown; is the file UTF-8?")


def _check_position(ra: float | None, dec: float | None) -> None:
    if (ra is None) != (dec is None):
        raise RowError("dec" if dec is None else "ra", "is missing; give both ra and dec, or neither")
    if ra is not None and not (isfinite(ra) and 0 <= ra <= 360):
        raise RowError("ra", f"must be between 0 and 360 degrees, not {ra}")
    if dec is not None and not (isfinite(dec) and -90 <= dec <= 90):
        raise RowError("dec", f"must be between -90 and 90 degrees, not {dec}")


def _checked_json(metadata: dict[str, Any], what: str) -> str:
    """The metadata as JSON; raises RowError for what cannot be stored."""
    fields = [
        f"{quote(key)}: {quote(value) if isinstance(value, str) else _encoded(key, value)}"
        for key, value in metadata.items()
    ]
    text = f"{{{', '.join(fields)}}}"
    # What cannot be stored has an escape, and no text is longer than its JSON: most need no look at each value.
    if "\\u" in text or len(text) > LARGEST_METADATA:
        _check_metadata(metadata, what)
    return text


def _encoded(key: str, value: Any) -> str:
    try:
        return encode_finite(value)
    except ValueError:
        raise RowError(key, "is not a finite number, or holds one") from None


def _check_metadata(metadata: dict[str, Any], what: str) -> None:
    size = 0
    for key, value in metadata.items():
        text = value if isinstance(value, str) else repr(value)
        if not (is_storable(key) and is_storable(text)):
            raise RowError(key[:60] if is_storable(key) else "", "has characters that cannot be stored; is it UTF-8?")
        size += len(key) + len(text)
    if size > LARGEST_METADATA:
        raise RowError("", f"the {what} has {size:,} characters; at most {LARGEST_METADATA:,} are taken")
