"""Goes on with kindling's optimizers in PyTorch for one step: `resume.py FILE OUT`; see
pytorch-resume.test.ts.
"""
import math
import sys

import torch

runs = torch.load(sys.argv[1])
for name, run in runs.items():
    weight = run['weight'].clone().requires_grad_()
    optimizer = getattr(torch.optim, name)([weight], lr=9)
    optimizer.load_state_dict(run['state'])
    if name == 'NAdam':
        # 1.13's loop over single tensors is not the documented algorithm, its foreach form is.
        optimizer.param_groups[0]['foreach'] = True
    weight.grad = torch.tensor([math.sin(run['step']), math.cos(run['step']), 0.5])
    optimizer.step()
    run.update(weight=weight.detach(), state=optimizer.state_dict())
torch.save(runs, sys.argv[2])
