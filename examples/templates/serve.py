"""Answers the scorer's queries with the engine; read-only, so that every candidate is asked in the same way.

A query is ``{"template": …, "context": …}``; the answer is ``{"output": …}``, or ``{"error": true}`` where the
template is malformed.
"""

from __future__ import annotations

from engine import TemplateError, render

from evalkit.protocol.candidate import serve


def answer(query):
    try:
        return {"output": render(query["template"], query["context"])}
    except TemplateError:
        return {"error": True}


serve(answer)
