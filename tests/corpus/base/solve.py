"""Fit a line to noisy points, then answer queries."""

import json
import os
import random
import sys
import time

# <top>


def load(name):
    with open(name) as file:
        return json.load(file)


def fit(points):
    n = len(points)
    mx = sum(x for x, _ in points) / n
    my = sum(y for _, y in points) / n
    sxx = sum((x - mx) ** 2 for x, _ in points)
    sxy = sum((x - mx) * (y - my) for x, y in points)
    slope = sxy / sxx
    return {"slope": slope, "intercept": my - slope * mx}


def train():
    rng = random.Random(int(os.environ.get("EVALKIT_SEED", "0")))
    points = rng.sample(load("train.json"), 12)
    model = fit(points)
    # <train>
    with open("model.json", "w") as file:
        json.dump(model, file)


def answer(model, x):
    # <answer>
    return model["slope"] * x + model["intercept"]


def main():
    # <main>
    if sys.argv[1:] == ["serve"]:
        from evalkit.protocol.candidate import artifact, serve

        model = load(artifact("model.json"))
        serve(lambda xs: [answer(model, x) for x in xs])
    else:
        train()


if __name__ == "__main__":
    main()
