"""Pillow and torchvision's side of compare-preprocessing.ts: writes the float32 planes of every image under a folder.

    python3 scripts/compare-preprocessing.py FOLDER OUT.bin

Resize(256), CenterCrop(224), ToTensor and Normalize with ImageNet's statistics, in the order of torchvision's ImageFolder.
"""

import sys
import time

import numpy as np
import PIL
import torch
import torchvision
from torchvision import transforms as T

folder, out = sys.argv[1:3]
torch.set_num_threads(1)
steps = [T.Resize(256), T.CenterCrop(224), T.ToTensor(), T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
data = torchvision.datasets.ImageFolder(folder, T.Compose(steps))
start = time.perf_counter()
with open(out, "wb") as file:
    for image, label in data:
        file.write(np.float32(label).tobytes())
        file.write(image.numpy().astype(np.float32).tobytes())
seconds = time.perf_counter() - start
versions = f"Pillow {PIL.__version__}, torchvision {torchvision.__version__}"
print(f"{len(data)} images in {seconds:.2f} s ({1000 * seconds / len(data):.1f} ms each), {versions}")
