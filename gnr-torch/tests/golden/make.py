"""Writes mlp.pt, a network of Python's PyTorch as TorchScript: 2 -> 5 -> 3 with a tanh, in double precision, and
mlp.txt, the numbers that PyTorch computes with it: loss, gradient and Hessian-vector product of the mean cross-entropy
of four samples. `python make.py` in this folder, with PyTorch installed."""

import torch

torch.manual_seed(1)
net = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)).double()
torch.jit.script(net).save("mlp.pt")
x = torch.tensor([[0.0, 0.5], [1.0, -0.5], [-1.0, 0.25], [0.75, 1.0]], dtype=torch.float64)
y = torch.tensor([0, 1, 2, 1])
loss = torch.nn.functional.cross_entropy(net(x), y)
# In the order of their names, as gnr-torch has them.
named = dict(sorted(net.named_parameters()))
gradient = torch.autograd.grad(loss, named.values(), create_graph=True)
v = [torch.linspace(-1.0, 1.0, p.numel(), dtype=torch.float64).reshape(p.shape) for p in named.values()]
product = torch.autograd.grad(sum((g * d).sum() for g, d in zip(gradient, v)), named.values())
with open("mlp.txt", "w") as file:
    for row in [[loss], gradient, product]:
        flat = torch.cat([t.detach().reshape(-1) for t in row]).tolist()
        file.write(" ".join(repr(number) for number in flat) + "\n")
print(torch.__version__, list(named))
