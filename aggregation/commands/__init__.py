"""The commands of ``python -m aggregation``, a module each: read a table, call the public function, write a table."""

from aggregation.commands import boxes, debias, grades, swap, votes

#: Each has `add`, which declares its options; in the order of the help.
COMMANDS = (votes, grades, swap, boxes, debias)
