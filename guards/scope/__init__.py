"""What a change may touch, and whether a person could read it."""

from guards.scope.guard import ScopeGuard
from guards.scope.limits import ScopeLimits
from guards.scope.rules import RULES

__all__ = ["RULES", "ScopeGuard", "ScopeLimits"]
