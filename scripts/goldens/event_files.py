"""Records of PyTorch's own SummaryWriter: test/goldens/tensorboard/records.json.

    pip install tensorboard
    python3 scripts/goldens/event_files.py

All at one time, without the first record of each file (which names the writer). Made with TensorBoard 2.21.
"""
import glob
import json
import os
import tempfile
import time

import numpy as np

# PyTorch 1.13 asks newer versions of numpy for a loop that they do not have.
greater = np.greater


class Greater:
    def __call__(self, a, b, dtype=None):
        return greater(a, b)


np.greater = Greater()
import torch
from torch.utils.tensorboard import SummaryWriter

time.time = lambda: 1700000000.25

with tempfile.TemporaryDirectory() as folder:
    w = SummaryWriter(folder)
    w.add_scalar('loss', torch.tensor(1 / 3), 0)
    w.add_scalar('loss', 0.0, 2 ** 40)
    w.add_scalar('a/b', float('nan'), -1)
    w.add_scalars('all/acc', {'train': 0.5, 'val': 0.25}, 7)
    w.add_histogram('spread', torch.tensor([-3, -0.5, 0, 0.25, 0.25, 1, 2.5]), 4)
    w.add_histogram('one', np.array([1.0, 1.0, 1.0]), 5)
    w.add_histogram('zeros', np.array([0.0, 0.0]), 6)
    w.add_text('note', 'hello **world** \u00e4', 2)
    labels = torch.tensor([0, 1, 1, 0, 1])
    scores = torch.tensor([0.1, 0.4, 0.5, 0.8, 1.0])
    w.add_pr_curve('curve', labels, scores, 3, num_thresholds=5)
    w.add_pr_curve('weighted', labels, scores, 4, num_thresholds=3, weights=np.array([1, 2, 0.5, 1, 0]))
    w.add_scalar('earlier', 1.5, 8, walltime=1600000000.5)
    # One each: protobuf writes the entries of a map in any order.
    for name, value in {'lr': 0.1, 'opt': 'sgd', 'none': 0.0}.items():
        w.add_hparams({name: value}, {'hparam/acc': 0.9}, run_name=f'by {name}')
    w.close()
    records = {}
    for path in sorted(glob.glob(f'{folder}/**/*tfevents*', recursive=True)):
        data = open(path, 'rb').read()
        found = []
        while data:
            size = 16 + int.from_bytes(data[:8], 'little')
            found.append(data[:size].hex())
            data = data[size:]
        run = os.path.relpath(os.path.dirname(path), folder)
        records['' if run == '.' else run] = found[1:]

path = os.path.join(os.path.dirname(__file__), '../../test/goldens/tensorboard/records.json')
os.makedirs(os.path.dirname(path), exist_ok=True)
with open(path, 'w') as file:
    json.dump(records, file, indent=1)
    file.write('\n')
print(path, sum(map(len, records.values())))
