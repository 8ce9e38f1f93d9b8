"""A release's classifications brought into the order of its subjects, on disk: memory does not grow with their number.

They come in the order of ids, as they are stored. Each batch is dealt into piles, a pile holding all that is said about
some neighbouring subjects; piles are then read one by one and sorted in memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

IntArray = npt.NDArray[np.int64]

#: Classifications that are held in memory at once, roughly, and subjects; fewer where each says something of its own,
#: in boxes or in words. Of very many, piles become larger.
ROWS_IN_PILE = 30_000
OWN_WORDS_IN_PILE = 8_000
SUBJECTS_IN_PILE = 15_000
MOST_PILES = 1000
#: Rows that are dealt at once: so many, and more if pieces of piles would be smaller than that.
ROWS_DEALT = 60_000
ROWS_IN_PIECE = 200

#: What is needed of a classification.
COLUMNS = ("subject_id", "id", "volunteer_id", "workflow_version_id", "annotations", "created_at")
SCHEMA = pa.schema(
    [
        *((name, pa.int64()) for name in ("subject", "id", "volunteer_id", "workflow_version_id")),
        ("annotations", pa.large_string()),
        ("created_at", pa.timestamp("us", "UTC")),
    ]
)


class Pile(NamedTuple):
    """All classifications of the subjects number `first` … `last` - 1 of the release, in the order of subjects and,
    within each, of ids. `subject` counts from `first`; row i has the JSON text `texts[code[i]]`.
    """

    first: int
    last: int
    subject: IntArray
    id: IntArray
    volunteer_id: IntArray
    version_id: IntArray
    created_at: npt.NDArray[np.datetime64]
    code: IntArray
    texts: list[str]


class BySubject:
    """The classifications of `subject_ids` (increasing), some `n_rows` of them, by way of the file `path`.

    `own_words`: hardly two of them say the same.
    """

    def __init__(self, path: Path, subject_ids: IntArray, n_rows: int, *, own_words: bool) -> None:
        self.subject_ids = subject_ids
        in_pile = OWN_WORDS_IN_PILE if own_words else ROWS_IN_PILE
        n_subjects = len(subject_ids)
        n_piles = min(max(1, -(-n_rows // in_pile), -(-n_subjects // SUBJECTS_IN_PILE)), MOST_PILES)
        self._in_pile = max(1, -(-n_subjects // n_piles))
        self._pieces: list[list[int]] = [[] for _ in range(0, n_subjects, self._in_pile)]
        self._dealt_at_once = max(ROWS_DEALT, ROWS_IN_PIECE * len(self._pieces))
        self._n_pieces = 0
        self.path = path

    def deal(self, batches: Iterable[pa.RecordBatch], second_looks: Sequence[int]) -> Iterator[int]:
        """Write what the batches hold, other subjects' classifications and second looks left out.

        Yields now and then how many rows were read.
        """
        left_out = np.array(second_looks, dtype=np.int64)
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        n_read = 0
        with pa.OSFile(str(self.path), "wb") as file, pa.ipc.new_file(file, SCHEMA, options=options) as writer:
            for table in _gathered(batches, self._dealt_at_once):
                self._deal_table(table, left_out, writer)
                n_read += table.num_rows
                yield n_read

    def _deal_table(self, table: pa.Table, left_out: IntArray, writer: Any) -> None:
        ids = table["subject_id"].to_numpy()
        subject = np.minimum(np.searchsorted(self.subject_ids, ids), len(self.subject_ids) - 1)
        is_wanted = (self.subject_ids[subject] == ids) & ~np.isin(table["id"].to_numpy(), left_out)
        wanted = np.flatnonzero(is_wanted)
        wanted = wanted[np.argsort(subject[wanted] // self._in_pile, kind="stable")]
        pile = subject[wanted] // self._in_pile
        dealt = _batch(table.take(pa.array(wanted)), subject[wanted])
        edges = np.searchsorted(pile, np.arange(len(self._pieces) + 1)).tolist()
        for number, (first, last) in enumerate(pairwise(edges)):
            if first < last:
                writer.write_batch(dealt.slice(first, last - first))
                self._pieces[number].append(self._n_pieces)
                self._n_pieces += 1

    def piles(self) -> Iterator[Pile]:
        """Pile by pile in the order of subjects; together they have every subject."""
        if not self._pieces:
            return
        with pa.OSFile(str(self.path), "rb") as file, pa.ipc.open_file(file) as reader:
            for number, pieces in enumerate(self._pieces):
                table = pa.Table.from_batches([reader.get_batch(piece) for piece in pieces], schema=SCHEMA)
                first = number * self._in_pile
                yield _pile(table, first, min(first + self._in_pile, len(self.subject_ids)))


def _gathered(batches: Iterable[pa.RecordBatch], n_rows: int) -> Iterator[pa.Table]:
    """The batches put together to `n_rows` rows or more."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(map(len, held)) >= n_rows:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)


def _batch(table: pa.Table, subject: IntArray) -> pa.RecordBatch:
    columns = {"subject": pa.chunked_array([subject])} | {
        field.name: table[field.name].cast(field.type) for field in SCHEMA if field.name != "subject"
    }
    (batch,) = pa.table(columns, schema=SCHEMA).combine_chunks().to_batches() or [_NOTHING]
    return batch


def _pile(table: pa.Table, first: int, last: int) -> Pile:
    subject = table["subject"].to_numpy()
    order = np.argsort(subject, kind="stable")
    texts = table["annotations"].combine_chunks().dictionary_encode()
    return Pile(
        first,
        last,
        subject=subject[order] - first,
        id=table["id"].to_numpy()[order],
        volunteer_id=table["volunteer_id"].to_numpy()[order],
        version_id=table["workflow_version_id"].to_numpy()[order],
        created_at=table["created_at"].to_numpy()[order],
        code=texts.indices.to_numpy()[order].astype(np.int64),
        texts=texts.dictionary.to_pylist(),
    )


_NOTHING = pa.RecordBatch.from_pylist([], schema=SCHEMA)
