"""A character language model in numpy, in one file: constants, model, training loop, serving.

    python train.py           train on data/train.txt for a fixed budget of CPU time, leave model.npz
    python train.py serve     answer windows of context with distributions over the next character

The metric is val_bpb: bits per character of text that this program never sees, lower is better. Everything in this
file may be changed; the budget is the same for all (CHARLM_SECONDS of CPU time, one thread).
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np

# What to change first.
CONTEXT = 16  # characters that the model looks back; the scorer gives 32
EMBED = 8  # numbers per character
WIDTH = 80  # hidden units
BATCH = 48  # windows a step
LEARNING_RATE = 0.0025
WARMUP = 0.3  # share of the budget over which the learning rate rises
COOLDOWN = 0.1  # share of the budget over which it falls to FINAL_RATE
FINAL_RATE = 0.1  # share of the learning rate at the end
BETA1 = 0.9
BETA2 = 0.999
WEIGHT_DECAY = 0.2
CLIP = 1.0  # gradient norm
LABEL_SMOOTHING = 0.1
DROPOUT = 0.2  # share of hidden units
EMBED_SCALE = 0.2  # standard deviation of the embedding at the start
HIDDEN_SCALE = 0.7  # of the hidden layer, times 1 / sqrt(inputs)
OUTPUT_SCALE = 1.0  # of the output layer, times 1 / sqrt(inputs)
UNIGRAM_BIAS = False  # start the output's bias at the characters' log frequencies
BIGRAM = False  # add a table of logits indexed by the last character
TEMPERATURE = 1.0  # of the served distributions

SYMBOLS = 128  # 7-bit characters; answers have this many columns
DECAYED = ("hidden", "output")

Weights = dict[str, np.ndarray]


def read_text(path: str) -> np.ndarray:
    """The training text as character codes."""
    with open(path, "rb") as file:  # noqa: PTH123
        return np.frombuffer(file.read(), dtype=np.uint8)


def log_frequencies(text: np.ndarray) -> np.ndarray:
    """Log frequency of every symbol; those that never occur count as half a time."""
    counts = np.bincount(text, minlength=SYMBOLS) + 0.5
    return np.log(counts / counts.sum()).astype(np.float32)


# Model


def initial(rng: np.random.Generator, text: np.ndarray) -> Weights:
    """Weights before training."""

    def normal(*shape: int, scale: float) -> np.ndarray:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    inputs = CONTEXT * EMBED
    weights = {
        "embed": normal(SYMBOLS, EMBED, scale=EMBED_SCALE),
        "hidden": normal(inputs, WIDTH, scale=HIDDEN_SCALE / inputs**0.5),
        "hidden_bias": np.zeros(WIDTH, np.float32),
        "output": normal(WIDTH, SYMBOLS, scale=OUTPUT_SCALE / WIDTH**0.5),
        "output_bias": log_frequencies(text) if UNIGRAM_BIAS else np.zeros(SYMBOLS, np.float32),
    }
    if BIGRAM:
        weights["bigram"] = np.zeros((SYMBOLS, SYMBOLS), np.float32)
    return weights


def activation(x: np.ndarray) -> np.ndarray:
    return np.tanh(x)


def activation_slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:  # noqa: ARG001 - other activations need it
    """Derivative at ``x``, where the activation is ``y``."""
    return 1 - y * y


def forward(weights: Weights, context: np.ndarray, keep: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    """Logits (batch, SYMBOLS) for contexts (batch, CONTEXT), and what the backward pass needs.

    ``keep`` multiplies the hidden units (dropout).
    """
    x = weights["embed"][context].reshape(len(context), -1)
    before = x @ weights["hidden"] + weights["hidden_bias"]
    hidden = activation(before)
    dropped = hidden if keep is None else hidden * keep
    logits = dropped @ weights["output"] + weights["output_bias"]
    if "bigram" in weights:
        logits = logits + weights["bigram"][context[:, -1]]
    return logits, x, before, hidden, dropped


def softmax(logits: np.ndarray) -> np.ndarray:
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def gradients(
    weights: Weights, context: np.ndarray, target: np.ndarray, keep: np.ndarray | None
) -> tuple[float, Weights]:
    """Mean cross entropy (nats) of a batch and its gradient."""
    logits, x, before, hidden, dropped = forward(weights, context, keep)
    rows = np.arange(len(target))
    probabilities = softmax(logits)
    loss = -float(np.mean(np.log(probabilities[rows, target] + 1e-30)))
    error = probabilities
    error -= LABEL_SMOOTHING / SYMBOLS
    error[rows, target] -= 1 - LABEL_SMOOTHING
    error /= len(target)
    into_hidden = error @ weights["output"].T
    if keep is not None:
        into_hidden *= keep
    into_hidden *= activation_slope(before, hidden)
    embed = np.zeros_like(weights["embed"])
    np.add.at(embed, context.reshape(-1), (into_hidden @ weights["hidden"].T).reshape(-1, EMBED))
    grads = {
        "embed": embed,
        "hidden": x.T @ into_hidden,
        "hidden_bias": into_hidden.sum(axis=0),
        "output": dropped.T @ error,
        "output_bias": error.sum(axis=0),
    }
    if "bigram" in weights:
        grads["bigram"] = np.zeros_like(weights["bigram"])
        np.add.at(grads["bigram"], context[:, -1], error)
    return loss, grads


# Optimiser


def learning_rate(progress: float) -> float:
    """Rate at a share of the budget in [0, 1]: linear up, flat, linear down."""
    if progress < WARMUP:
        return LEARNING_RATE * progress / WARMUP
    left = 1 - progress
    if left < COOLDOWN:
        return LEARNING_RATE * (FINAL_RATE + (1 - FINAL_RATE) * max(left, 0.0) / COOLDOWN)
    return LEARNING_RATE


class Adam:
    """Adam with decoupled weight decay and a clipped gradient norm."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.mean = {name: np.zeros_like(value) for name, value in weights.items()}
        self.square = {name: np.zeros_like(value) for name, value in weights.items()}
        self.steps = 0

    def step(self, grads: Weights, rate: float) -> None:
        self.steps += 1
        norm = sum(float(np.vdot(grad, grad)) for grad in grads.values()) ** 0.5
        shrink = min(1.0, CLIP / (norm + 1e-12))
        unbias1 = 1 - BETA1**self.steps
        unbias2 = 1 - BETA2**self.steps
        for name, raw in grads.items():
            grad = raw * np.float32(shrink)
            mean, square, weight = self.mean[name], self.square[name], self.weights[name]
            mean += (1 - BETA1) * (grad - mean)
            square += (1 - BETA2) * (grad * grad - square)
            if name in DECAYED:
                weight *= 1 - rate * WEIGHT_DECAY
            weight -= (rate / unbias1) * mean / (np.sqrt(square / unbias2) + 1e-8)


# Training and serving


def train(text: np.ndarray, seed: int, seconds: float) -> Weights:
    """Train until the process has used ``seconds`` of CPU time since this call."""
    rng = np.random.default_rng(seed)
    weights = initial(rng, text)
    optimiser = Adam(weights)
    windows = np.lib.stride_tricks.sliding_window_view(text, CONTEXT + 1)
    start = time.process_time()
    smooth = 0.0
    while (progress := (time.process_time() - start) / seconds) < 1:
        batch = windows[rng.integers(0, len(windows), BATCH)]
        keep = (rng.random((BATCH, WIDTH), np.float32) >= DROPOUT) / np.float32(1 - DROPOUT) if DROPOUT else None
        loss, grads = gradients(weights, batch[:, :-1], batch[:, -1], keep)
        optimiser.step(grads, learning_rate(progress))
        smooth += 0.02 * (loss - smooth) if smooth else loss
        if optimiser.steps % 500 == 0:
            print(f"step {optimiser.steps}  {progress:4.0%}  loss {smooth / np.log(2):.3f} bits")
    print(f"steps {optimiser.steps}  train_bpb {smooth / np.log(2):.4f}")
    return weights


def answer(weights: Weights, windows: np.ndarray) -> np.ndarray:
    """Distributions (windows, SYMBOLS) for windows (windows, 32) of character codes."""
    logits = forward(weights, windows[:, -CONTEXT:])[0]
    return softmax(logits.astype(np.float64) / TEMPERATURE)


def main() -> None:
    if sys.argv[1:] == ["serve"]:
        from evalkit.protocol.candidate import artifact, serve  # noqa: PLC0415 - training needs no protocol

        with np.load(artifact("model.npz"), allow_pickle=False) as stored:
            weights = dict(stored)
        serve(lambda windows: answer(weights, windows))
        return
    text = read_text("data/train.txt")
    weights = train(text, int(os.environ["EVALKIT_SEED"]), float(os.environ["CHARLM_SECONDS"]))
    np.savez("model.npz", **weights)


if __name__ == "__main__":
    main()
