import math
import time

import torch
import torch.nn.functional as F

# <top>


def batches(tokens, size):
    for start in range(0, len(tokens) - 1 - size, size):
        yield tokens[start : start + size], tokens[start + 1 : start + size + 1]


def evaluate(model, val_tokens, size):
    # <evaluate>
    total, count = 0.0, 0
    with torch.no_grad():
        for x, y in batches(val_tokens, size):
            loss = F.cross_entropy(model(x), y)
            total += loss.item() * len(y)
            count += len(y)
    return total / count / math.log(2)


def run(model, train_tokens, val_tokens, optimizer, max_seconds, size=64):
    started = time.perf_counter()
    while True:
        for x, y in batches(train_tokens, size):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        elapsed = time.perf_counter() - started
        if elapsed >= max_seconds:
            break
    # <after>
    return evaluate(model, val_tokens, size)
