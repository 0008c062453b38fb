"""What PyTorch computes for the rows of test/cases/ops.

Each row is run twice. A float64 run gives the values and gradients, which are then rounded once to
float32: the goldens are the exact answer for the float32 inputs, not one library's rounding of it. A
float32 run gives the dtypes (int64 is called int32, the only integer width on the GPU) and a warning
where PyTorch's own float32 answer is outside the row's tolerance. A third says what may be done to memory
(memory.py).

A row: op, name, inputs, py, ts; then optionally
  grad       inputs to differentiate; the gradient is that of sum(output * cotangent) over float outputs
  raises     PyTorch must raise, and so must kindling
  tolerance  [rtol, atol], default [1e-4, 1e-5]
  layouts    layouts to run (see test/ops/cases.ts), default all
  kink       finite differences do not see PyTorch's gradient: at a jump or a tie, or where values are steep
An input is {shape} (normal), with one of uniform: [low, high], ints: [low, high), bool: true,
distinct: true (shuffled and evenly spaced, so that no two are near a tie), or {values} with 'NaN', 'Infinity'
and '-Infinity' as strings; away: [kinks] moves values from the places where a derivative jumps; expand:
[dims] makes the input constant along dims, so that it can also be run as an expanded tensor.
"""
import numpy as np
import torch
import torch.nn.functional as F

import memory
import rows

NAMES = {torch.float32: 'float32', torch.float64: 'float32', torch.int64: 'int32', torch.int32: 'int32',
         torch.uint8: 'uint8', torch.bool: 'bool'}


def evaluate_py(row, tensors):
    # 'inf' appears in rows as a plain name.
    out = eval(row['py'], {'torch': torch, 'F': F, 'inf': float('inf'), **tensors})
    return list(out) if isinstance(out, (tuple, list)) else [out]


def evaluate(row, arrays, floats):
    """Runs row['py'] and returns (inputs, outputs)."""
    torch.set_default_dtype(floats)
    tensors = {name: rows.to_torch(*array, floats) for name, array in arrays.items()}
    for name in row.get('grad', []):
        tensors[name].requires_grad_()
    return tensors, evaluate_py(row, tensors)


def outputs_of(row, singles, doubles):
    golden = []
    for single, out in zip(singles, doubles):
        dtype = NAMES[single.dtype]
        value = out.detach().numpy()
        if dtype == 'float32':
            with np.errstate(over='ignore'):
                value = value.astype(np.float32)
            tolerance = row.get('tolerance', [1e-4, 1e-5])
            if not np.allclose(single.detach().numpy(), value, *tolerance, equal_nan=True):
                print(f"  note: PyTorch's float32 is outside the tolerance in {rows.key_of(row)}; the golden is float64's")
        golden.append(rows.packed(value, dtype))
    return golden


def gradients_of(row, tensors, outputs, rng):
    loss, cotangents = 0, []
    for out in outputs:
        if out.dtype != torch.float64 or not out.requires_grad:
            cotangents.append(None)
            continue
        cotangent = np.asarray(rng.uniform(-1, 1, size=tuple(out.shape)), dtype=np.float32)
        cotangents.append(rows.packed(cotangent))
        loss = loss + (out * torch.from_numpy(cotangent.astype(np.float64))).sum()
    grads = torch.autograd.grad(loss, [tensors[n] for n in row['grad']], allow_unused=True)
    return {'cotangents': cotangents,
            'grads': {n: None if g is None else rows.packed(g.numpy()) for n, g in zip(row['grad'], grads)}}


def run(row):
    rng = rows.random_of(row)
    arrays = rows.make_inputs(row, rng)
    golden = {'inputs': {name: rows.packed(*array) for name, array in arrays.items()}}
    if row.get('raises'):
        try:
            evaluate(row, arrays, torch.float32)
        except Exception:  # noqa: BLE001  any error will do: PyTorch mixes four classes here
            return golden
        raise AssertionError('PyTorch does not raise')
    _, singles = evaluate(row, arrays, torch.float32)
    tensors, doubles = evaluate(row, arrays, torch.float64)
    golden['outputs'] = outputs_of(row, singles, doubles)
    if row.get('grad'):
        golden.update(gradients_of(row, tensors, doubles, rng))
    return {**golden, 'memory': memory.memory_of(row, arrays, evaluate_py)}

