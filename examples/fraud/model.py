"""The classifier: ``make(seed)`` is all that the other programs call. Small, shallow, and meant to be improved."""

from __future__ import annotations

from sklearn.ensemble import RandomForestClassifier

TREES = 40
DEPTH = 3
FEATURES = 3  # of 64, tried at each split
LEAF = 4  # rows in a leaf at least


def make(seed: int):
    """An unfitted classifier with ``fit`` and ``predict_proba``.

    Rows are 64 numbers from 0 to 16; about one in ten is positive. Rows of one sheet resemble each other.
    """
    return RandomForestClassifier(
        n_estimators=TREES,
        max_depth=DEPTH,
        max_features=FEATURES,
        min_samples_leaf=LEAF,
        random_state=seed,
    )
