import torch

# <top>


def custom_kernel(a, b):
    # <kernel>
    return torch.matmul(a, b)
