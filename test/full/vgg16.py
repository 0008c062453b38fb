"""VGG-16 by torchvision: its state dict in both containers, an input, its output, and one layer after two steps."""
import sys

import torch
import torchvision

folder = sys.argv[1]
torch.manual_seed(0)
model = torchvision.models.vgg16().eval()
for parameter in model.parameters():
    if parameter.dim() == 1:
        torch.nn.init.normal_(parameter, 0, 0.05)
state = model.state_dict()
torch.save(state, f'{folder}/vgg16.pth')
torch.save(state, f'{folder}/vgg16.legacy.pth', _use_new_zipfile_serialization=False)

x = torch.randn(2, 3, 224, 224)
with torch.no_grad():
    torch.save({'x': x, 'y': model(x)}, f'{folder}/forward.pth')

x, c = torch.randn(4, 25088).relu(), torch.randn(4, 4096)
rows = torch.arange(0, 4096, 97)
result = {'x': x, 'c': c, 'rows': rows.int()}
for name, make in (('sgd', lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=1e-3)),
                   ('adam', lambda p: torch.optim.Adam(p, lr=1e-3))):
    layer = torch.nn.Linear(25088, 4096)
    layer.load_state_dict({'weight': state['classifier.0.weight'], 'bias': state['classifier.0.bias']})
    optimizer = make(layer.parameters())
    norms = []
    for _ in range(2):
        optimizer.zero_grad()
        ((torch.relu(layer(x)) * c).mean() * 10).backward()
        # clip_grad_norm_ adds a hundred million squares up in float32 and is off by 0.7 % (PyTorch 1.13 on a CPU).
        norm = sum(p.grad.double().norm() ** 2 for p in layer.parameters()).sqrt()
        norms.append(norm.item())
        for parameter in layer.parameters():
            parameter.grad.mul_(min(1.0, 0.5 / (norm.item() + 1e-6)))
        optimizer.step()
    result[f'{name}.norms'] = torch.tensor(norms)
    result[f'{name}.change'] = (layer.weight.detach() - state['classifier.0.weight'])[rows]
torch.save(result, f'{folder}/train.pth')
