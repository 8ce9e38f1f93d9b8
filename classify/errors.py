"""Why a classification or a decision about a subject is refused."""


class SubmissionRefused(ValueError):
    """Something in a submission is wrong. `field` names it, e.g. `annotations[1].value`."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        self.message = message
        super().__init__(f"{field}: {message}")


class AlreadyClassified(Exception):
    """The same person classified the subject before, under another classification id."""


class ForeignClassificationId(Exception):
    """The classification id is taken by somebody else's classification."""


class GoldStandardRefused(ValueError):
    """The value does not fit the task."""
