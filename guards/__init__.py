"""Detectors: each plugs into evalkit through the ``evalkit.guards`` entry point, as anyone's package would."""
