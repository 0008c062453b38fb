"""What PyTorch lets one do to the memory of an op's inputs and results (the `memory` of an op's golden):

  shares    per output, the input whose memory it shows, or null
  strides   per output, its strides where they are not row-major, else null (with a dim of size 0 or 1 any do)
  written   per output with a gradient: may it be multiplied in place before backward()?
  inputs    per differentiated input: may it (as an op's result) be multiplied in place before backward()?
"""
import torch

import rows


def evaluate(row, arrays, evaluate_py):
    """The inputs as PyTorch's op sees them (an op's results where differentiated) and the outputs."""
    tensors = {}
    for name, (array, dtype) in arrays.items():
        t = rows.to_torch(array, dtype, torch.float32)
        tensors[name] = t.requires_grad_() * 1 if name in row.get('grad', []) else t
    return tensors, evaluate_py(row, tensors)


def memory_of(row, arrays, evaluate_py):
    def allowed(pick):
        """Whether backward() works after what `pick` finds was multiplied in place."""
        tensors, outputs = evaluate(row, arrays, evaluate_py)
        try:
            pick(tensors, outputs).mul_(2)
            sum(o.sum() for o in outputs if o.requires_grad).backward()
            return True
        except RuntimeError:
            return False

    def place(tensor):
        return tensor.storage().data_ptr()

    torch.set_default_dtype(torch.float32)
    tensors, outputs = evaluate(row, arrays, evaluate_py)
    places = {place(t): name for name, t in tensors.items() if t.numel() > 0}
    memory = {
        'shares': [places.get(place(o)) if o.numel() > 0 else None for o in outputs],
        'strides': [None if o.is_contiguous() else list(o.stride()) for o in outputs],
    }
    if any(o.requires_grad for o in outputs):
        memory['written'] = [
            allowed(lambda _, outs, i=i: outs[i]) if o.requires_grad else None for i, o in enumerate(outputs)
        ]
        memory['inputs'] = {n: allowed(lambda ins, _, n=n: ins[n]) for n in row['grad']}
    return memory
