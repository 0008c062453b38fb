"""Writes test/goldens/memory.json: what PyTorch lets one do to the memory of each op's inputs and results.

    python3 scripts/goldens/make_memory_goldens.py        (PyTorch 1.13 or later, numpy)

For each row of test/cases/*.json that does not raise (make_op_goldens.py documents the rows):
  shares    per output, the input whose memory it shows, or null
  strides   per output, its strides where they are not row-major, else null (one zero-size or size-1 dim makes any strides do)
  written   per output with a gradient: may it be multiplied in place before backward()?
  inputs    per differentiated input: may it (as the result of an op) be multiplied in place between the op and backward()?
"""
import json
import zlib

import numpy as np
import torch
import torch.nn.functional as F

from make_op_goldens import DTYPES, ROOT, make_input


def evaluate(row, arrays, leaves):
    """The inputs as PyTorch's op sees them (results of an op where they are differentiated) and the outputs."""
    tensors = {}
    for name, (array, dtype) in arrays.items():
        t = torch.from_numpy(array.copy()).to(torch.float32 if dtype == 'float32' else DTYPES[dtype])
        if name in row.get('grad', []):
            leaves[name] = t.requires_grad_()
            t = t * 1
        tensors[name] = t
    out = eval(row['py'], {'torch': torch, 'F': F, 'inf': float('inf'), **tensors})
    return tensors, list(out) if isinstance(out, (tuple, list)) else [out]


def allowed(row, arrays, pick):
    """Whether backward() works after what `pick` finds was multiplied in place."""
    leaves = {}
    tensors, outputs = evaluate(row, arrays, leaves)
    try:
        pick(tensors, outputs).mul_(2)
        sum(o.sum() for o in outputs if o.requires_grad).backward()
        return True
    except RuntimeError:
        return False


def memory(tensor):
    return tensor.storage().data_ptr()


def run_case(row):
    rng = np.random.default_rng(zlib.crc32(f"{row['op']}|{row['name']}".encode()))
    arrays = {name: make_input(spec, rng) for name, spec in row['inputs'].items()}
    tensors, outputs = evaluate(row, arrays, {})
    places = {memory(t): name for name, t in tensors.items() if t.numel() > 0}
    golden = {
        'shares': [places.get(memory(o)) if o.numel() > 0 else None for o in outputs],
        'strides': [None if o.is_contiguous() else list(o.stride()) for o in outputs],
    }
    if any(o.requires_grad for o in outputs):
        golden['written'] = [
            allowed(row, arrays, lambda _, outs, i=i: outs[i]) if o.requires_grad else None
            for i, o in enumerate(outputs)
        ]
        golden['inputs'] = {n: allowed(row, arrays, lambda ins, _, n=n: ins[n]) for n in row['grad']}
    return golden


def main():
    lines = []
    for path in sorted((ROOT / 'test/cases').glob('*.json')):
        for row in json.loads(path.read_text()):
            if row.get('raises'):
                continue
            key = f"{row['op']} | {row['name']}"
            try:
                golden = run_case(row)
            except Exception as error:
                raise SystemExit(f'{path.name}: {key}: {error}') from error
            lines.append(f'{json.dumps(key)}: {json.dumps(golden, separators=(",", ":"))}')
    (ROOT / 'test/goldens/memory.json').write_text('{\n' + ',\n'.join(lines) + '\n}\n')
    print(f'{len(lines)} cases (PyTorch {torch.__version__})')


if __name__ == '__main__':
    main()
