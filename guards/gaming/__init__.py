"""Static rules about metric gaming: evidence that says where to probe; the few that block have no honest reading."""

from guards.gaming.guard import FAMILIES, RULES, GamingGuard, inspect_views

__all__ = ["FAMILIES", "RULES", "GamingGuard", "inspect_views"]
