"""Rounds and answers of a split run as rows: what all machines of a site can see is its database."""

from starsieve.catalogues.models import ConsensusBlock, ConsensusSplit

#: A message is cut into rows of this many bytes: no database takes a value of a gigabyte gladly.
BLOCK_BYTES = 32 * 2**20
#: What all shards are asked.
ASKED = "asked"


class MessageGone(Exception):
    """The message is not there any more: the run has gone on, or is over."""


def answer_of(place: int) -> str:
    """Name of a shard's answer."""
    return f"answer {place}"


def subjects_of(place: int) -> str:
    """Name of the ids of a shard's subjects, int64, in the order of its posteriors."""
    return f"subjects {place}"


def write_message(*, split: ConsensusSplit, number: int, name: str, content: bytes) -> None:
    """Store what belongs to round `number` under a name, in place of what was there. For the caller's transaction."""
    ConsensusBlock.objects.filter(split=split, round=number, name=name).delete()
    for place, first in enumerate(range(0, max(1, len(content)), BLOCK_BYTES)):
        part = content[first : first + BLOCK_BYTES]
        ConsensusBlock.objects.create(split=split, round=number, name=name, place=place, content=part)


def read_message(*, split: ConsensusSplit, number: int, name: str) -> bytes:
    """What `write_message` stored. Raises MessageGone."""
    blocks = ConsensusBlock.objects.filter(split=split, round=number, name=name).order_by("place")
    parts = [bytes(part) for part in blocks.values_list("content", flat=True)]
    if not parts:
        raise MessageGone(f"{split}: nothing named {name!r} in round {number}")
    return b"".join(parts)
