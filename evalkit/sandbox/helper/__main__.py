"""Start of the helper: ``python -I -S __main__.py DESCRIPTOR``, the descriptor being its end of a socket pair."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # -I -S leaves sys.path at the standard library; the package that this file belongs to is three folders up.
    sys.path.append(__file__.rsplit("/", 4)[0])
    from evalkit.sandbox.helper.server import serve

    serve(int(sys.argv[1]))
