"""What runs inside the sandboxes may import: standard library only, and cheap to load.

* :mod:`evalkit.protocol.candidate`: ``serve(answer)`` for programs that answer a scorer's queries.
* :mod:`evalkit.protocol.scorer`: ``Session`` for scorers (ask the candidate, report the metrics).
* :mod:`evalkit.protocol.frames`: the bytes on the wire between the two and the parent in the middle.
* :mod:`evalkit.protocol.strict`: the JSON parser that refuses what ``json.loads`` lets through.

Neither side has to use these modules: the wire format is described in :mod:`evalkit.protocol.frames` and fits in
ten lines of any language; a scorer with nothing to ask may simply print one JSON object.
"""
