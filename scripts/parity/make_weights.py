"""Writes what scripts/parity/run.ts compares kindling with: one of torchvision's models with random weights.

    python3 scripts/parity/make_weights.py NAME SIZE FOLDER

The weights are torchvision's initialisation from seed 0. Batch norms take the statistics of two random images, so that
evaluation mode sees activations of a sensible size. Into FOLDER go zip.pth and legacy.pth (the same state dict in PyTorch's two
containers), input.bin and logits.bin (float32 little-endian: one image of 3 x SIZE x SIZE, the logits in evaluation mode).
Prints a line of JSON: number of parameters and classes, and how far the logits move (relative L2) for another image.
"""
import json
import sys
import warnings
from pathlib import Path

import torch
import torchvision


def save(path, tensor):
    path.write_bytes(tensor.numpy().astype('<f4').tobytes())


def main(name, size, folder):
    warnings.simplefilter('ignore')
    torch.manual_seed(0)
    # SciPy would draw these two models' truncated normals for minutes.
    options = {'init_weights': False} if name in ('googlenet', 'inception_v3') else {}
    model = getattr(torchvision.models, name)(**options).eval()
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        if norms:
            model(torch.randn(2, 3, size, size))
        for norm, momentum in zip(norms, momenta):
            norm.eval()
            norm.momentum = momentum
        image = torch.randn(1, 3, size, size)
        logits, other = model(image), model(torch.randn(1, 3, size, size))
    state = model.state_dict()
    torch.save(state, folder / 'zip.pth')
    torch.save(state, folder / 'legacy.pth', _use_new_zipfile_serialization=False)
    save(folder / 'input.bin', image)
    save(folder / 'logits.bin', logits)
    print(json.dumps({'parameters': sum(p.numel() for p in model.parameters()), 'classes': logits.shape[1],
                      'sensitivity': float((other - logits).norm() / logits.norm())}))


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
