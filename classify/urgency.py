"""How soon a subject should be seen again, within its bucket: 0 when it is new.

One more once half of its classifications are there: what is begun gets done. Two less for each step by which the next
vote is expected to tell less than the first one did (`LiveModel.information`), down to a subject that is all but sure.
`priority = bucket * URGENCIES + urgency` keeps buckets apart: urgencies span from -6 to 1.
"""

#: Shares of the first vote's information below which a subject gets less urgent, a step each.
STEPS = (0.5, 0.2, 0.05)


def urgency_of(count: int, limit: int | None, information: float | None) -> int:
    """`count` of the `limit` classifications are there (None: there is no limit); `information` is what the next vote
    is expected to tell, as a share of what the first one did, None where no model knows.
    """
    more_than_half = int(limit is not None and 2 * count >= limit)
    steps_down = 0 if information is None else sum(information < step for step in STEPS)
    return more_than_half - 2 * steps_down
