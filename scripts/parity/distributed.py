"""
What `test/distributed/programs/ddp.mjs` does, by PyTorch's DistributedDataParallel over gloo: prints the losses of
both and their largest distance.

    npm run build
    mpirun -n 2 node test/distributed/programs/ddp.mjs 20 group even start.json > ours.txt
    python3 scripts/parity/distributed.py start.json ours.txt 2 group

With `sync` in place of `group` PyTorch trains in one process with the whole batch and BatchNorm2d, for its
SyncBatchNorm runs on CUDA only.
"""

import json
import os
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

BATCH = 12


def network(norm, start):
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.GroupNorm(2, 8) if norm == "group" else nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    state = {name: torch.tensor(values).reshape(net.state_dict()[name].shape) for name, values in start.items()}
    net.load_state_dict(state)
    return net


def train(rank, ranks, norm, start, steps, out):
    model = network(norm, start)
    if ranks > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")
        dist.init_process_group("gloo", rank=rank, world_size=ranks)
        model = DistributedDataParallel(model, bucket_cap_mb=0.0005)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    share = BATCH // ranks
    mine = slice(rank * share, (rank + 1) * share)
    losses = []
    for step in range(steps):
        values = torch.sin(torch.arange(BATCH * 3 * 64, dtype=torch.float64) * (step + 1)).float()
        images = values.reshape(BATCH, 3, 8, 8)
        labels = torch.tensor([(i * 7 + step) % 4 for i in range(BATCH)])
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images[mine]), labels[mine])
        loss.backward()
        optimizer.step()
        mean = loss.detach().clone()
        if ranks > 1:
            dist.all_reduce(mean)
            mean /= ranks
        losses.append(mean.item())
    if rank == 0:
        with open(out, "w") as file:
            json.dump(losses, file)


if __name__ == "__main__":
    start_file, ours_file, ranks, norm = sys.argv[1:]
    with open(start_file) as file:
        start = json.load(file)
    with open(ours_file) as file:
        ours = next(json.loads(line)["losses"] for line in file if line.startswith("{"))
    ranks = int(ranks) if norm == "group" else 1
    out = start_file + ".losses"
    args = (ranks, norm, start, len(ours), out)
    if ranks == 1:
        train(0, *args)
    else:
        mp.spawn(train, args, nprocs=ranks)
    with open(out) as file:
        theirs = json.load(file)
    os.remove(out)
    for step, (a, b) in enumerate(zip(ours, theirs)):
        print(f"step {step:2}  kindling {a:.7f}  PyTorch {b:.7f}")
    print("largest distance:", max(abs(a - b) for a, b in zip(ours, theirs)))
