"""What scripts/numerics.ts asks of PyTorch: reads {rows: [{torch, reference, points}]}, points as float32 in base64, and writes
for each row its values by float64 (the reference) and by float32."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), 'goldens'))
import find_torch  # noqa: E402,F401  first: it may go on in another Python

import base64  # noqa: E402
import json  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402


def values(code, x):
    out = eval(code, {'torch': torch, 'x': x})  # rows are of this repository
    return base64.b64encode(out.double().numpy().tobytes()).decode()


def answer(row):
    x = torch.from_numpy(np.frombuffer(base64.b64decode(row['points']), dtype=np.float32).copy())
    return {'float64': values(row['reference'], x.double()), 'float32': values(row['torch'], x)}


if __name__ == '__main__':
    json.dump([answer(row) for row in json.load(sys.stdin)['rows']], sys.stdout)
