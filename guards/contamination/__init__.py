"""Holdout items where they have no business: in a change, in what a trial wrote, in a corpus, in git."""
