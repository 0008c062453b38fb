"""Runs random programs in PyTorch, for test/trust/differential.ts.

Reads one JSON list of Python lines per line of input, and answers each with one JSON object: the index of the line that PyTorch
refused (or null) with its message, and per register the values, whether it requires grad, and its gradient.
"""

import json
import re
import sys
import warnings

import torch
import torch.nn.functional as F

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
REGISTER = re.compile(r"r(\d+)$")


def seed(root, numbers):
    """A gradient for `root`: the numbers, repeated row by row."""
    count = root.numel()
    return torch.tensor([numbers[i % len(numbers)] for i in range(count)], dtype=torch.float64).reshape(root.shape)


def state(tensor):
    grad = tensor.grad
    return {
        "shape": list(tensor.shape),
        "values": tensor.detach().flatten().tolist(),
        "requiresGrad": tensor.requires_grad,
        "grad": None if grad is None else grad.flatten().tolist(),
    }


def run(lines):
    names = {"torch": torch, "F": F, "seed": seed}
    refused = None
    for at, line in enumerate(lines):
        try:
            exec(line, names)
        except (RuntimeError, ValueError, TypeError) as error:
            refused = {"at": at, "kind": str(error).split("\n")[0]}
            break
    registers = {m[1]: state(value) for name, value in names.items() if (m := REGISTER.match(name))}
    return {"refused": refused, "registers": registers}


print(json.dumps({"version": torch.__version__}), flush=True)
for request in sys.stdin:
    print(json.dumps(run(json.loads(request))), flush=True)
