"""How large a change may be; read from ``[guards.scope]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from evalkit.errors import UsageError

__all__ = ["ScopeLimits"]


@dataclass(frozen=True, slots=True)
class ScopeLimits:
    """Limits of one change.

    Attributes:
        max_file: bytes of one changed file.
        max_files: files in one change.
        max_lines: lines that a change adds.
        binary: globs of binary files that are allowed.
        packed: globs of files in which packed code is allowed.
    """

    max_file: int = 1 << 20
    max_files: int = 200
    max_lines: int = 20_000
    binary: tuple[str, ...] = ()
    packed: tuple[str, ...] = ()

    @classmethod
    def read(cls, options: Mapping[str, object]) -> ScopeLimits:
        """From the contract's table.

        Raises:
            UsageError: an unknown key, or a value of the wrong type.
        """
        known = {field.name: field.default for field in fields(cls)}
        values: dict[str, int | tuple[str, ...]] = {}
        for key, value in options.items():
            if key not in known:
                raise UsageError(f"[guards.scope] has no {key!r}", f"known: {', '.join(known)}")
            if isinstance(known[key], int):
                if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                    raise UsageError(f"[guards.scope] {key} is {value!r}", f"a whole number, such as {known[key]}")
                values[key] = value
            else:
                values[key] = _globs(key, value)
        return cls(**values)  # type: ignore[arg-type]


def _globs(key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"[guards.scope] {key} is {value!r}", 'a list of globs, such as ["data/*.bin"]')
    return tuple(value)
