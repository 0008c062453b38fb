"""Writes what scripts/parity/run.ts compares kindling with: one of torchvision's models with random weights.

    python3 scripts/parity/make_weights.py NAME SIZE FOLDER

The weights are torchvision's initialisation from seed 0, with batch norms as in trained networks: random shifts, the statistics
of two random images, and what keeps a hundred layers from blowing up rounding (as initialised, PyTorch's own float32 logits of a
ResNet-152 are off by 4e-4): factors of 0.1 to 0.3 in those that end a ResNet's or RegNet's block, and shifts around one in the
Inceptions, which have no shortcuts. Into FOLDER go zip.pth and legacy.pth (the same state dict in PyTorch's two containers),
input.bin and logits.bin (float32 little-endian: one image of 3 x SIZE x SIZE, the logits in evaluation mode).
Prints a line of JSON: number of parameters, how far the logits move for another image (`sensitivity`), and how far PyTorch's
float32 logits are from its float64 ones (`float32`), both relative L2.
"""
import json
import sys
import warnings
from pathlib import Path

import torch
import torchvision
from torchvision.models import regnet, resnet


def save(path, tensor):
    path.write_bytes(tensor.numpy().astype('<f4').tobytes())


def lasts(model):
    for module in model.modules():
        if isinstance(module, resnet.Bottleneck):
            yield module.bn3
        elif isinstance(module, resnet.BasicBlock):
            yield module.bn2
        elif isinstance(module, regnet.BottleneckTransform):
            yield module.c[1]


def main(name, size, folder):
    warnings.simplefilter('ignore')
    torch.manual_seed(0)
    # SciPy would draw these two models' truncated normals for minutes.
    options = {'init_weights': False} if name in ('googlenet', 'inception_v3') else {}
    model = getattr(torchvision.models, name)(**options).eval()
    plain = (torchvision.models.GoogLeNet, torchvision.models.Inception3)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for module in model.modules():
            # The heads of vision transformers start as zeros.
            if isinstance(module, torch.nn.Linear) and not module.weight.any():
                module.weight.normal_(0.0, 0.02)
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
            norm.bias.normal_(1.0 if isinstance(model, plain) else 0.0, 0.1)
        for last in lasts(model):
            last.weight.uniform_(0.1, 0.3)
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
    with torch.no_grad():
        exact = model.double()(image.double())
    print(json.dumps({'parameters': sum(p.numel() for p in model.parameters()),
                      'sensitivity': float((other - logits).norm() / logits.norm()),
                      'float32': float((logits - exact).norm() / exact.norm())}))


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
