"""From test/cases/NAME.json to test/goldens/NAME.json: what the scripts that run rows share.

A golden depends on its row alone and stands in a line of its own, under the row's name: a row more is a line
more. Beside what PyTorch gave it holds what PyTorch was given (`row`), so that the tests notice a row that
has changed since.

A tensor is [dtype, shape, base64 of four-byte little-endian words] (float32, or int32 for every other dtype).
"""
import base64
import json
import re
import zlib
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
# What PyTorch does not see of a row (test/rows.ts has the same list).
UNSEEN = {'op', 'name', 'ts', 'tolerance', 'layouts', 'kink'}
DTYPES = {'float32': torch.float32, 'int32': torch.int64, 'uint8': torch.uint8, 'bool': torch.bool}


def key_of(row):
    return f"{row['op']} | {row['name']}" if 'op' in row else row.get('name', row.get('ts'))


def snake(name):
    return re.sub('([A-Z])', lambda found: '_' + found[1].lower(), name)


def names():
    cases = ROOT / 'test/cases'
    return sorted(str(path.relative_to(cases).with_suffix('')) for path in cases.glob('*/*.json'))


def make(name, run):
    """Writes the goldens of the rows in test/cases/NAME.json; `run` makes one from its row."""
    goldens = {}
    for row in json.loads((ROOT / f'test/cases/{name}.json').read_text()):
        key = key_of(row)
        if key in goldens:
            raise SystemExit(f'{name}: two rows are called {key}')
        try:
            goldens[key] = {'row': {k: v for k, v in row.items() if k not in UNSEEN}, **run(row)}
        except Exception as error:
            raise SystemExit(f'{name}: {key}: {error}') from error
    lines = [f'{json.dumps(k)}: {json.dumps(golden, separators=(",", ":"))}' for k, golden in goldens.items()]
    target = ROOT / f'test/goldens/{name}.json'
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text('{\n' + ',\n'.join(lines) + '\n}\n')
    print(f'{name}: {len(lines)} rows, {target.stat().st_size / 1024:.0f} KiB')


def packed(array, dtype='float32'):
    data = np.ascontiguousarray(array, dtype='<f4' if dtype == 'float32' else '<i4')
    return [dtype, list(np.shape(array)), base64.b64encode(data.tobytes()).decode()]


def random_of(row):
    """Random numbers that depend on the row's name alone."""
    return np.random.default_rng(zlib.crc32(key_of(row).replace(' | ', '|', 1).encode()))


def make_input(spec, rng):
    """The input of a row (ops.py says what one may be) as a float32 or integer array, and its dtype."""
    if 'values' in spec:
        dtype = spec.get('dtype', 'float32')
        numbers = np.array(spec['values'], dtype=object)
        flat = [float(v.replace('Infinity', 'inf')) if isinstance(v, str) else v for v in numbers.reshape(-1)]
        array = np.array(flat, dtype=np.float32 if dtype == 'float32' else np.int64)
        return array.reshape(spec.get('shape', numbers.shape)), dtype
    full = tuple(spec['shape'])
    expand = spec.get('expand', [])
    shape = tuple(1 if d in expand else n for d, n in enumerate(full))
    if 'ints' in spec:
        array, dtype = rng.integers(*spec['ints'], size=shape), spec.get('dtype', 'int32')
    elif spec.get('bool'):
        array, dtype = rng.integers(0, 2, size=shape), 'bool'
    else:
        array, dtype = make_floats(spec, shape, rng), 'float32'
    return np.ascontiguousarray(np.broadcast_to(array, full)), dtype


def make_floats(spec, shape, rng):
    if 'uniform' in spec:
        array = rng.uniform(*spec['uniform'], size=shape)
    elif spec.get('distinct'):
        count = int(np.prod(shape))
        spaced = np.linspace(-2, 2, count) if count > 1 else np.full(count, 0.5)
        array = rng.permutation(spaced).reshape(shape)
    else:
        array = rng.standard_normal(shape)
    for kink in spec.get('away', []):
        near = np.abs(array - kink) < 0.1
        array = np.where(near, array + np.where(array < kink, -0.15, 0.15), array)
    return np.asarray(array, dtype=np.float32)


def make_inputs(row, rng):
    return {name: make_input(spec, rng) for name, spec in row['inputs'].items()}


def to_torch(array, dtype, floats):
    return torch.from_numpy(array.copy()).to(floats if dtype == 'float32' else DTYPES[dtype])
