"""Commands that plug into ``evalkit`` through the ``evalkit.commands`` entry point."""
