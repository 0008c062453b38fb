"""
What `test/distributed/programs/parity.mjs` does, by PyTorch's DistributedDataParallel over gloo: prints the largest
distance of each result.

    npm run build
    mpirun -n 2 node test/distributed/programs/parity.mjs > ours.json
    python3 scripts/parity/data_parallel.py ours.json
"""

import json
import os
import sys
import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.distributed.algorithms.join import Join
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DistributedSampler


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 4)
        self.b = nn.Linear(4, 2)
        self.side = nn.Linear(4, 2)
        with torch.no_grad():
            for n, p in enumerate(self.parameters()):
                p.copy_((torch.arange(p.numel()).float() + n).sin().reshape(p.shape))

    def forward(self, x, both=False):
        h = self.a(x).tanh()
        return self.b(h) + self.side(h) if both else self.b(h)


def scenarios(rank):
    def make():
        return DistributedDataParallel(Net(), find_unused_parameters=True)

    def x(step):
        return (torch.arange(6).float() * 0.7 + step + 3 * rank).sin().reshape(2, 3)

    def flat(model):
        return [v for p in model.parameters() for v in p.detach().flatten().tolist()]

    def grads(model):
        return [None if p.grad is None else p.grad.flatten().tolist() for p in model.parameters()]

    def train(model, optimizer, steps, clip=None):
        for step in range(steps):
            optimizer.zero_grad(set_to_none=True)
            model(x(step)).pow(2).sum().backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()

    def sgd(model):
        return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)

    out = {}
    model = make()
    model(x(0), rank == 0).pow(2).sum().backward()
    out["grads, side used on rank 0"] = grads(model)
    model = make()
    model(x(0)).pow(2).sum().backward()
    out["grads, side unused"] = grads(model)
    model = make()
    # Where one rank uses a part within no_sync only, PyTorch 1.13 averages nothing of it, so that ranks part; ours do.
    with model.no_sync():
        model(x(0)).pow(2).sum().backward()
    model(x(1)).pow(2).sum().backward()
    out["grads, no_sync then sync"] = grads(model)
    model = make()
    train(model, sgd(model), 4, 0.3)
    out["weights, clipped"] = flat(model)
    # gloo sums float16; bfloat16 it does not.
    model = make()
    model.register_comm_hook(None, default_hooks.fp16_compress_hook)
    train(model, sgd(model), 4)
    out["weights, fp16"] = flat(model)
    model = make()
    with Join([model]):
        train(model, sgd(model), 2 if rank == 0 else 5)
    out["weights, joined"] = flat(model)
    model = make()
    train(model, ZeroRedundancyOptimizer(model.parameters(), optimizer_class=torch.optim.Adam, lr=0.1), 4)
    out["weights, ZeRO"] = flat(model)
    out["keys"] = list(model.state_dict())
    out["module keys"] = list(model.module.state_dict())
    out["sampler"] = [
        list(DistributedSampler(range(length), num_replicas=3, rank=part, shuffle=False, drop_last=drop))
        for length in (5, 6, 7, 11)
        for drop in (False, True)
        for part in range(3)
    ]
    return out


def run(rank, path):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29512")
    dist.init_process_group("gloo", rank=rank, world_size=2)
    out = scenarios(rank)
    if rank == 0:
        with open(path, "w") as file:
            json.dump(out, file)


def distance(a, b):
    """The largest difference of numbers; infinite where the structures differ."""
    if isinstance(a, list) and isinstance(b, list):
        return max(map(distance, a, b), default=0.0) if len(a) == len(b) else float("inf")
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return abs(a - b)
    return 0.0 if a == b else float("inf")


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        ours = next(json.loads(line) for line in file if line.startswith("{"))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "theirs.json")
        mp.spawn(run, (path,), nprocs=2)
        with open(path) as file:
            theirs = json.load(file)
    for name, value in theirs.items():
        print(f"{name:30} {distance(ours[name], value):.2e}")
