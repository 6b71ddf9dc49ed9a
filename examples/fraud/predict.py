"""Answers the scorer's queries with the fitted classifier; read-only.

A query is an array (rows, 64); the answer is an array (rows,) of probabilities of the positive class.
"""

from __future__ import annotations

import joblib
import numpy as np

from evalkit.protocol.candidate import artifact, serve

classifier = joblib.load(artifact("model.joblib"))
serve(lambda rows: np.asarray(classifier.predict_proba(rows)[:, 1], dtype=np.float64))
