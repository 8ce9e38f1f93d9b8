"""Writing in the background: the server stores what is ready while this process prepares what comes next."""

import gc
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import cycle

from django.db import connection, connections

WRITERS = 2
SECONDS_BETWEEN_THREADS = 0.0005
OBJECTS_BETWEEN_COLLECTIONS = 100_000

Submit = Callable[[Callable[[], None]], "Future[None]"]


@contextmanager
def writing_behind() -> Iterator[Submit]:
    """A function that has work done and gives its Future.

    On PostgreSQL in WRITERS threads by turns, each with a connection of its own until the block ends. On SQLite, which
    has one writer, and inside a transaction, which other connections do not see, the work is done at once.
    """
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        yield _at_once
        return
    with ExitStack() as stack:
        turns = cycle([stack.enter_context(_writer()) for _ in range(WRITERS)])
        yield lambda work: next(turns).submit(work)


@contextmanager
def _writer() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1, thread_name_prefix="writing") as writer:
        try:
            yield writer
        finally:
            writer.submit(connections.close_all)  # that thread's


def _at_once(work: Callable[[], None]) -> "Future[None]":
    done: Future[None] = Future()
    try:
        work()
    except Exception as error:
        done.set_exception(error)
    else:
        done.set_result(None)
    return done


@contextmanager
def interpreter_for_rows() -> Iterator[None]:
    """The interpreter, set for a process that does nothing but pass rows on, as long as the block lasts.

    Rows hold no reference cycles: to look for some after every few hundred objects took a fifth of an import's time.
    And a writer whom the server has answered goes on at once, not after the 5 ms for which a busy reader may stop it.
    """
    objects, seconds = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, *objects[1:])
    sys.setswitchinterval(SECONDS_BETWEEN_THREADS)
    try:
        yield
    finally:
        gc.set_threshold(*objects)
        sys.setswitchinterval(seconds)
