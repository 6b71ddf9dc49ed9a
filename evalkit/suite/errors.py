"""What a call of the subject can end with instead of a value.

None of these carries an object of the candidate's: a type's name and a message, both text, are all that crosses.
"""

from __future__ import annotations

__all__ = ["SubjectError", "SubjectGoneError", "SubjectRaisedError", "SubjectTimeoutError"]


class SubjectError(Exception):
    """The subject gave no value; the trial fails."""


class SubjectRaisedError(SubjectError):
    """The called function raised.

    Attributes:
        kind: the name of the exception's type, as the candidate's process tells it.
        message: its message, likewise.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}" if message else kind)
        self.kind, self.message = kind, message


class SubjectTimeoutError(SubjectError):
    """No answer in time; the worker was ended."""


class SubjectGoneError(SubjectError):
    """The worker died or broke the protocol; there are no more answers in this trial."""
