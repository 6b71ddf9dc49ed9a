"""How good the guards are, on the corpus of this repository and on real cases that lie outside it."""

from guards.figures.real import Row, contest, cross_validated, data_folder, kernels, stream
from guards.figures.synthetic import corpus, corpus_folder, hard_coding, speed
from guards.figures.table import figures, wilson

__all__ = [
    "Row",
    "contest",
    "corpus",
    "corpus_folder",
    "cross_validated",
    "data_folder",
    "figures",
    "hard_coding",
    "kernels",
    "speed",
    "stream",
    "wilson",
]
