"""Writes test/goldens/NAME.json from the rows of test/cases/NAME.json, with PyTorch (1.13 or later).

    python3 scripts/goldens/make.py [NAME ...]        e.g. ops/pointwise nn/layers; all of them without a name

The module that runs a folder's rows says what is in one: ops.py, layers.py, attention.py, optim.py.
"""
import find_torch  # noqa: F401  first: it may go on in another Python

import os
import sys
import warnings

import attention
import layers
import ops
import optim
import rows

RUNS = {
    'nn/attention': attention.run_layer,
    'nn/attention-function': attention.run_function,
    'optim/optimizers': optim.run_optimizer,
    'optim/lbfgs': optim.run_lbfgs,
    'optim/schedulers': optim.run_scheduler,
    'optim/averages': optim.run_average,
    'optim/update-bn': optim.run_update_bn,
    'optim/clip': optim.run_clip,
}

if __name__ == '__main__':
    warnings.filterwarnings('ignore')
    for name in sys.argv[1:] or rows.names():
        families = {'ops/': ops.run, 'nn/layers': layers.run}
        run = next((run for start, run in families.items() if name.startswith(start)), None)
        rows.make(name, run or RUNS[name])
    # PyTorch's threads sometimes do not end by themselves.
    sys.stdout.flush()
    os._exit(0)
