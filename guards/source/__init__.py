"""Source code that nobody vouches for, read without running it: patches, syntax trees, names."""

from guards.source.fragments import Parsed, parse, parse_fragments
from guards.source.names import Names, fold
from guards.source.patch import Hunk, PatchChange, PatchFile, parse_patch
from guards.source.program import Program, Write
from guards.source.view import FileView, views

__all__ = [
    "FileView",
    "Hunk",
    "Names",
    "Parsed",
    "PatchChange",
    "PatchFile",
    "Program",
    "Write",
    "fold",
    "parse",
    "parse_fragments",
    "parse_patch",
    "views",
]
