"""PyTorch's part of sequence.ts: `make FOLDER` trains, `check FOLDER` reads back what kindling trained.

Per model it writes the state dict before training, input and target as raw float32, the losses and the time per
step.
"""
import json
import sys
import time
from pathlib import Path

import torch
from torch import nn

STEPS = 50
BATCH, LENGTH, FEATURES, HIDDEN = 8, 20, 16, 32


class Sequence(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.embed = nn.Linear(FEATURES, HIDDEN)
        self.body = body
        self.head = nn.Linear(HIDDEN, FEATURES)

    def forward(self, x, mask):
        y = self.embed(x)
        if isinstance(self.body, (nn.LSTM, nn.GRU)):
            y = self.body(y)[0]
        elif isinstance(self.body, nn.TransformerEncoder):
            y = self.body(y)
        else:
            y = self.body(y, y, tgt_mask=mask)
        return self.head(y)


def models():
    options = {'dim_feedforward': 64, 'dropout': 0.0, 'batch_first': True}
    return {
        'LSTM': nn.LSTM(HIDDEN, HIDDEN, 2, batch_first=True),
        'GRU': nn.GRU(HIDDEN, HIDDEN, 2, batch_first=True),
        'TransformerEncoder': nn.TransformerEncoder(nn.TransformerEncoderLayer(HIDDEN, 4, **options), 2),
        'TransformerDecoder': nn.TransformerDecoder(nn.TransformerDecoderLayer(HIDDEN, 4, **options), 2),
    }


def make(folder):
    result = {}
    for name, body in models().items():
        torch.manual_seed(0)
        net = Sequence(body)
        x, target = torch.randn(BATCH, LENGTH, FEATURES), torch.randn(BATCH, LENGTH, FEATURES)
        mask = torch.full((LENGTH, LENGTH), float('-inf')).triu(1)
        torch.save(net.state_dict(), folder / f'{name}.pth')
        x.numpy().tofile(folder / f'{name}.x')
        target.numpy().tofile(folder / f'{name}.target')
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        losses = []
        start = time.perf_counter()
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(x, mask), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        result[name] = {'losses': losses, 'ms': 1000 * (time.perf_counter() - start) / STEPS}
        torch.save(net.state_dict(), folder / f'{name}.after.pth')
    return result


def check(folder):
    """The largest difference of weights after training, relative to the largest weight."""
    result = {}
    for name, body in models().items():
        net = Sequence(body)
        net.load_state_dict(torch.load(folder / f'{name}.kindling.pth'))
        wanted = torch.load(folder / f'{name}.after.pth')
        off = [((w - wanted[key]).abs().max() / wanted[key].abs().max()).item() for key, w in net.state_dict().items()]
        result[name] = max(off)
    return result


print(json.dumps({'make': make, 'check': check}[sys.argv[1]](Path(sys.argv[2]))))
