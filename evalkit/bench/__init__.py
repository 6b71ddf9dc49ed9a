"""What evalkit claims of itself in numbers: ``python -m evalkit.bench NAME`` prints a table and writes its JSON.

Every module ``evalkit/bench/NAME.py`` has ``figures(quick: bool) -> list[dict]``; a figure has ``name``, ``value``,
``unit``, ``target``, ``ok`` (None where there is no target) and ``detail``.
"""
