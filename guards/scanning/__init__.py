"""Guards on a diff, on the commits of a range or on a patch from a pipe; nothing is run, imported or written."""

from guards.scanning.engine import Scanned, default_contract, scan_change, scan_patch
from guards.scanning.revisions import commits, difference
from guards.scanning.sarif import sarif_log

__all__ = ["Scanned", "commits", "default_contract", "difference", "sarif_log", "scan_change", "scan_patch"]
