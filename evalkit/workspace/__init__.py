"""Trees and changes, in evalkit's own bare git store.

>>> from evalkit.workspace import Store, out_of_scope
>>> with Store.open(state / "store") as store:  # doctest: +SKIP
...     incumbent = store.import_revision(repository, "HEAD")
...     store.materialise(incumbent, folder)
...     candidate = store.snapshot(folder, like=incumbent)
...     change = store.diff(incumbent, candidate)
...     assert not out_of_scope(change, ["train.py"])
"""

from __future__ import annotations

from evalkit.workspace.change import Change, FileChange
from evalkit.workspace.commits import PlannedCommit
from evalkit.workspace.globs import Globs
from evalkit.workspace.objects import EMPTY_TREE
from evalkit.workspace.paths import printable
from evalkit.workspace.repository import Repository
from evalkit.workspace.scope import Violation, out_of_scope
from evalkit.workspace.store import Store
from evalkit.workspace.trees import Caps, Entry

__all__ = [
    "EMPTY_TREE",
    "Caps",
    "Change",
    "Entry",
    "FileChange",
    "Globs",
    "PlannedCommit",
    "Repository",
    "Store",
    "Violation",
    "out_of_scope",
    "printable",
]
