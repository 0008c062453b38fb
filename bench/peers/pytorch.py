"""PyTorch on the CPU, for scale: the works of works.mjs, timed and reported as worker.mjs does."""
import argparse
import json
import math
import resource
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SEEDS = {"input": 1001, "labels": 1002, "other": 1003, "grad": 1004}


def hashes(seed, count):
    with np.errstate(over="ignore"):
        x = np.uint32((seed * 0x9E3779B9) & 0xFFFFFFFF) + np.arange(count, dtype=np.uint32)
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
        x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
        return x ^ (x >> np.uint32(16))


def uniform(seed, shape, bound=math.sqrt(3)):
    unit = (hashes(seed, math.prod(shape)) >> np.uint32(8)).astype(np.float64) / 2**23 - 1
    return torch.from_numpy((unit * bound).astype(np.float32)).reshape(shape)


def labels(count, classes):
    return torch.from_numpy((hashes(SEEDS["labels"], count) % np.uint32(classes)).astype(np.int64))


class PadShortcut(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.side = channels // 4

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.side, self.side))


class CifarBlock(nn.Module):
    def __init__(self, into, channels):
        super().__init__()
        stride = 1 if into == channels else 2
        self.conv1 = nn.Conv2d(into, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential() if stride == 1 else PadShortcut(channels)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class CifarResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        into = 16
        for stage, channels in enumerate((16, 32, 64)):
            blocks = []
            for _ in range(3):
                blocks.append(CifarBlock(into, channels))
                into = channels
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class CausalSelfAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x):
        n, length, width = x.shape
        parts = self.c_attn(x).split(width, dim=2)
        q, k, v = (part.view(n, length, self.heads, -1).transpose(1, 2) for part in parts)
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            # Before PyTorch 2.0.
            scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
            future = torch.ones(length, length, dtype=torch.bool).triu(1)
            y = scores.masked_fill(future, -math.inf).softmax(-1) @ v
        return self.c_proj(y.transpose(1, 2).reshape(n, length, width))


class GptBlock(nn.Module):
    """With nanoGPT's names, https://github.com/karpathy/nanoGPT."""

    def __init__(self, width=768, heads=12):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = CausalSelfAttention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


def fill(model):
    with torch.no_grad():
        for seed, (name, p) in enumerate(model.named_parameters()):
            if p.ndim > 1:
                p.copy_(uniform(seed, p.shape, math.sqrt(6 / math.prod(p.shape[1:]))))
            else:
                p.fill_(1 if name.endswith("weight") else 0)
    return model


HEADS = 4


def sequence(work):
    """(model, loss)"""
    layer, width, shape = work["layer"], work["width"], tuple(work["input"])
    size = shape[2]
    x, memory = uniform(SEEDS["input"], shape), uniform(SEEDS["other"], shape)
    if layer in ("lstm", "gru"):
        model = (nn.LSTM if layer == "lstm" else nn.GRU)(size, width, batch_first=True)
        forward = lambda: model(x)[0]
    else:
        kind = nn.TransformerEncoderLayer if layer == "encoder" else nn.TransformerDecoderLayer
        model = kind(size, HEADS, width, 0.0, batch_first=True)
        forward = lambda: model(x) if layer == "encoder" else model(x, memory)
    fill(model)
    y = uniform(SEEDS["labels"], (*shape[:2], width if layer in ("lstm", "gru") else size))
    return model, lambda: F.mse_loss(forward(), y)


def network(work):
    name = work["network"]
    if name == "cifar-resnet20":
        return fill(CifarResNet20())
    if name == "gpt-block":
        return fill(GptBlock())
    from torchvision import models

    build = {
        "resnet18": models.resnet18,
        "mobilenet-v2": lambda: models.mobilenet_v2(dropout=0.0),
        "vit-b16": models.vit_b_16,
    }
    return fill(build[name]())


def with_grads(forward, leaves):
    state = {}
    for leaf in leaves:
        leaf.requires_grad_()

    def run():
        y = forward()
        if "seed" not in state:
            state["seed"] = uniform(SEEDS["grad"], y.shape) if y.ndim else torch.tensor(1.0)
        state["results"] = (y, *torch.autograd.grad(y, leaves, state["seed"]))

    return run, lambda: state["results"]


def plain(forward):
    state = {}

    def run():
        with torch.no_grad():
            state["results"] = (forward(),)

    return run, lambda: state["results"]


def steps(model, loss_of, lr=0.01):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)

    def step():
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, None


def prepare(work):
    """(run, results): `results` is None for training steps, whose `run` gives the loss."""
    op = work["op"]
    if op == "matmul":
        shape = (work["n"], work["n"])
        a, b = uniform(SEEDS["input"], shape), uniform(SEEDS["other"], shape)
        return plain(lambda: a @ b)
    shape = tuple(work["input"])
    x = uniform(SEEDS["input"], shape)
    if op == "add":
        b = uniform(SEEDS["other"], shape)
        return plain(lambda: x + b)
    if op == "cross-entropy-grad":
        y = labels(*shape)
        return with_grads(lambda: F.cross_entropy(x, y), [x])
    if op == "forward":
        model = network(work).eval()
        return plain(lambda: model(x))
    if op == "train":
        model, name = network(work), work["network"]
        if name == "gpt-block":
            y = uniform(SEEDS["labels"], shape)
            return steps(model, lambda: F.mse_loss(model(x), y))
        y = labels(shape[0], 10 if name == "cifar-resnet20" else 1000)
        return steps(model, lambda: F.cross_entropy(model(x), y), 1e-4 if name in ("vit-b16", "mobilenet-v2") else 0.01)
    if op == "sequence":
        return steps(*sequence(work))
    if op.startswith("max-pool"):
        x = x.abs()
        forward = lambda: F.max_pool2d(x, 3, 2, 1)
        return plain(forward) if op == "max-pool" else with_grads(forward, [x])
    channels = shape[1]
    if op.startswith("conv"):
        w = uniform(SEEDS["other"], (channels, channels, 3, 3))
        forward = lambda: F.conv2d(x, w, padding=1)
        return plain(forward) if op == "conv" else with_grads(forward, [x, w])
    if op == "batch-norm-grad":
        norm = nn.BatchNorm2d(channels)
        return with_grads(lambda: norm(x), [x, norm.weight, norm.bias])
    raise ValueError(f"no work of kind {op}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True, help="a work of works.mjs as JSON")
    parser.add_argument("--rounds", action="store_true")
    args = parser.parse_args()
    run, results = prepare(json.loads(args.work))

    def timed():
        start = time.perf_counter()
        value = run()
        return (time.perf_counter() - start) * 1000, value

    def show(result):
        print(json.dumps(result), flush=True)

    first, *more = [timed() for _ in range(3)]
    check = [float((t.double() ** 2).sum()) for t in results()] if results else [first[1], *(v for _, v in more)]
    show(
        {
            "library": "PyTorch CPU",
            "version": torch.__version__,
            "adapter": "CPU",
            "supported": True,
            "firstMs": first[0],
            "steadyMs": more[-1][0],
            "check": check,
        }
    )
    if args.rounds:
        for line in sys.stdin:
            times = [timed()[0] for _ in range(int(line))]
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            show({"times": times, "peakRssMiB": peak})


main()
