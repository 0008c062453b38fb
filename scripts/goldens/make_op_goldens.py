"""Writes test/goldens/<family>.json + .bin from the rows in test/cases/<family>.json.

    python3 scripts/goldens/make_op_goldens.py [family ...]        (PyTorch 1.13 or later, numpy)

Each row is run twice. A float64 run gives the values and gradients, which are then rounded once to
float32: the goldens are the exact answer for the float32 inputs, not one library's rounding of it. A
float32 run gives the dtypes (int64 is called int32, the only integer width on the GPU) and a warning
where PyTorch's own float32 answer is outside the row's tolerance.

A row: op, name, inputs, py, ts; then optionally
  grad       inputs to differentiate; the gradient is that of sum(output * cotangent) over float outputs
  raises     PyTorch must raise, and so must kindling
  tolerance  [rtol, atol], default [1e-4, 1e-5]
  layouts    layouts to run (see test/ops/cases.ts), default all
An input is {shape} (normal), with one of uniform: [low, high], ints: [low, high), bool: true,
distinct: true (shuffled and evenly spaced, so that no two are near a tie), or {values} with 'NaN', 'Infinity' and
'-Infinity' as strings; away: [kinks] moves values from the places where a derivative jumps; expand: [dims] makes the input
constant along dims, so that it can also be run as an expanded tensor.

Files: <family>.bin holds four-byte little-endian words (float32, or int32 for every other dtype);
<family>.json says per case where: a tensor is [dtype, shape, first word].
"""
import json
import sys
import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parents[2]
DTYPES = {'float32': torch.float32, 'int32': torch.int64, 'uint8': torch.uint8, 'bool': torch.bool}
NAMES = {torch.float32: 'float32', torch.float64: 'float32', torch.int64: 'int32', torch.int32: 'int32',
         torch.uint8: 'uint8', torch.bool: 'bool'}


def make_input(spec, rng):
    """The input as a float32 or integer numpy array and its kindling dtype."""
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
        dtype = 'float32'
        if 'uniform' in spec:
            array = rng.uniform(*spec['uniform'], size=shape)
        elif spec.get('distinct'):
            count = int(np.prod(shape))
            array = rng.permutation(np.linspace(-2, 2, count) if count > 1 else np.full(count, 0.5)).reshape(shape)
        else:
            array = rng.standard_normal(shape)
        for kink in spec.get('away', []):
            near = np.abs(array - kink) < 0.1
            array = np.where(near, array + np.where(array < kink, -0.15, 0.15), array)
        array = np.asarray(array, dtype=np.float32)
    return np.ascontiguousarray(np.broadcast_to(array, full)), dtype


def evaluate(row, arrays, float_dtype):
    """Runs row['py'] and returns (inputs, outputs)."""
    torch.set_default_dtype(float_dtype)
    grad = row.get('grad', [])
    tensors = {}
    for name, (array, dtype) in arrays.items():
        t = torch.from_numpy(array.copy()).to(float_dtype if dtype == 'float32' else DTYPES[dtype])
        tensors[name] = t.requires_grad_(name in grad)
    # 'inf' appears in rows as a plain name.
    out = eval(row['py'], {'torch': torch, 'F': F, 'inf': float('inf'), **tensors})
    outputs = list(out) if isinstance(out, (tuple, list)) else [out]
    return tensors, outputs


class Blob:
    def __init__(self):
        self.parts, self.words = [], 0

    def add(self, array, dtype):
        data = np.ascontiguousarray(array, dtype='<f4' if dtype == 'float32' else '<i4')
        place = [dtype, list(array.shape), self.words]
        self.parts.append(data.tobytes())
        self.words += data.size
        return place


def run_case(row, blob):
    rng = np.random.default_rng(zlib.crc32(f"{row['op']}|{row['name']}".encode()))
    arrays = {name: make_input(spec, rng) for name, spec in row['inputs'].items()}
    golden = {'py': row['py'], 'inputs': {n: blob.add(a, d) for n, (a, d) in arrays.items()}}
    if row.get('raises'):
        try:
            evaluate(row, arrays, torch.float32)
        except Exception:  # noqa: BLE001  any error will do: PyTorch mixes four classes here
            return golden
        raise AssertionError('PyTorch does not raise')
    _, singles = evaluate(row, arrays, torch.float32)
    tensors, outputs = evaluate(row, arrays, torch.float64)
    rtol, atol = row.get('tolerance', [1e-4, 1e-5])
    golden['outputs'] = []
    for single, out in zip(singles, outputs):
        dtype = NAMES[single.dtype]
        with np.errstate(over='ignore'):
            value = out.detach().numpy()
            value = value.astype(np.float32) if dtype == 'float32' else value
        if dtype == 'float32' and not np.allclose(single.detach().numpy(), value, rtol, atol, equal_nan=True):
            print(f"  note: PyTorch's float32 is outside the tolerance in {row['op']} | {row['name']}")
        golden['outputs'].append(blob.add(value, dtype))
    grad = row.get('grad', [])
    if grad:
        loss, cotangents = 0, []
        for out in outputs:
            if out.dtype != torch.float64 or not out.requires_grad:
                cotangents.append(None)
                continue
            c = rng.uniform(-1, 1, size=tuple(out.shape)).astype(np.float32)
            cotangents.append(blob.add(np.asarray(c, dtype=np.float32), 'float32'))
            loss = loss + (out * torch.from_numpy(np.asarray(c, dtype=np.float64))).sum()
        grads = torch.autograd.grad(loss, [tensors[n] for n in grad], allow_unused=True)
        golden['cotangents'] = cotangents
        golden['grads'] = {n: None if g is None else blob.add(g.numpy().astype(np.float32), 'float32')
                           for n, g in zip(grad, grads)}
    return golden


def main(families):
    total = 0
    for path in sorted((ROOT / 'test/cases').glob('*.json')):
        if families and path.stem not in families:
            continue
        blob, lines = Blob(), []
        for row in json.loads(path.read_text()):
            key = f"{row['op']} | {row['name']}"
            try:
                golden = run_case(row, blob)
            except Exception as error:
                raise SystemExit(f'{path.name}: {key}: {error}') from error
            lines.append(f'{json.dumps(key)}: {json.dumps(golden, separators=(",", ":"))}')
        target = ROOT / 'test/goldens' / path.name
        target.parent.mkdir(exist_ok=True)
        target.write_text('{\n' + ',\n'.join(lines) + '\n}\n')
        target.with_suffix('.bin').write_bytes(b''.join(blob.parts))
        size = target.stat().st_size + blob.words * 4
        total += size
        print(f'{path.stem}: {len(lines)} cases, {size / 1024:.0f} KiB')
    print(f'total {total / 1024:.0f} KiB (PyTorch {torch.__version__})')


if __name__ == '__main__':
    main(sys.argv[1:])
