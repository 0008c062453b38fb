"""PyTorch's view of a weight file, as JSON: `reference.py dump|weights_only FILE` and `reference.py resave IN OUT`.

Safetensors files are read by the format's specification (https://github.com/huggingface/safetensors#format).
"""
import json
import sys

import torch

CODES = {
    'F64': torch.float64, 'F32': torch.float32, 'F16': torch.float16, 'BF16': torch.bfloat16, 'I64': torch.int64,
    'I32': torch.int32, 'I16': torch.int16, 'I8': torch.int8, 'U8': torch.uint8, 'BOOL': torch.bool,
    'C64': torch.complex64,
}


def read_safetensors(path):
    with open(path, 'rb') as file:
        data = file.read()
    size = int.from_bytes(data[:8], 'little')
    header = json.loads(data[8:8 + size])
    header.pop('__metadata__', None)
    tensors = {}
    for name, info in header.items():
        begin, end = (8 + size + offset for offset in info['data_offsets'])
        dtype = CODES[info['dtype']]
        flat = torch.frombuffer(bytearray(data[begin:end]), dtype=dtype) if end > begin else torch.empty(0, dtype=dtype)
        tensors[name] = flat.reshape(info['shape'])
    return tensors


def load(path, **options):
    return read_safetensors(path) if path.endswith('.safetensors') else torch.load(path, **options)


def raw(tensor):
    flat = tensor.detach().contiguous().reshape(-1)
    return bytes(flat.clone().untyped_storage() if hasattr(flat, 'untyped_storage') else flat.clone().storage()._storage)


def describe(value):
    if isinstance(value, torch.Tensor):
        return {'dtype': str(value.dtype)[6:], 'shape': list(value.shape), 'hex': raw(value).hex(),
                'storage': value.storage().data_ptr()}
    if isinstance(value, dict):
        return {'kind': type(value).__name__, 'items': [[repr(key), describe(item)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    return {'python': repr(value)}


command, path = sys.argv[1:3]
if command == 'resave':
    value = load(path)
    torch.save(value, sys.argv[3], _use_new_zipfile_serialization='legacy' not in sys.argv[3])
else:
    print(json.dumps(describe(load(path, weights_only=True) if command == 'weights_only' else load(path))))
