"""The Hessian of ResNet-20 with PyHessian and with curvlinops + SciPy: one JSON line a task.

The problem is a safetensors file with the weights of models.py's CIFAR ResNet-20 (1x1 projection shortcuts, BatchNorm in eval
mode), images `x` and labels `y`, one batch. Times are without set-up (PyHessian: forward and first backward; ours: the same).
"""
import argparse, json, resource, sys, time, warnings
warnings.filterwarnings("ignore")
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F
from safetensors.torch import load_file


class Block(nn.Module):
    def __init__(self, cin, c, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, c, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c)
        self.conv2 = nn.Conv2d(c, c, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c)
        self.shortcut = nn.Sequential()
        if stride != 1 or cin != c:
            self.shortcut = nn.Sequential(nn.Conv2d(cin, c, 1, stride, bias=False), nn.BatchNorm2d(c))

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        cin, blocks = 16, []
        for i, c in enumerate((16, 32, 64)):
            for j in range(3):
                blocks.append(Block(cin, c, 2 if i > 0 and j == 0 else 1))
                cin = c
        self.layers = nn.Sequential(*blocks)
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layers(F.relu(self.bn1(self.conv1(x))))
        return self.linear(x.mean(dim=(2, 3)))


def line(tool, task, seconds, products, **rest):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"tool": tool, "task": task, "seconds": seconds, "num_matvecs": products, "peak_rss_mb": peak, **rest}),
          flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--problem", required=True)
    p.add_argument("--threads", type=int, required=True)
    p.add_argument("--tasks", default="top5,trace,density,top50")
    p.add_argument("--samples", type=int, default=100)
    p.add_argument("--steps", type=int, default=100)
    p.add_argument("--tools", default="pyhessian,curvlinops")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    d = load_file(a.problem)
    x, y = d.pop("x"), d.pop("y")
    m = ResNet20(); m.load_state_dict(d); m.eval()
    crit = nn.CrossEntropyLoss()
    tasks, tools = a.tasks.split(","), a.tools.split(",")

    if "pyhessian" in tools and {"top5", "trace", "density"} & set(tasks):
        # PyHessian 0.1 calls torch.eig, which PyTorch dropped: this gives what density() reads of it.
        def eig(T, eigenvectors=True):
            w, v = torch.linalg.eigh(T)
            return torch.stack([w, torch.zeros_like(w)], 1), v
        torch.eig = eig
        import pyhessian
        module = sys.modules["pyhessian.hessian"]
        original, count = module.hessian_vector_product, [0]
        def counted(*args):
            count[0] += 1
            return original(*args)
        module.hessian_vector_product = counted
        h = pyhessian.hessian(m, crit, data=(x, y), cuda=False)
        def timed(task, f, **rest):
            torch.manual_seed(0); count[0] = 0
            start = time.perf_counter(); r = f(); seconds = time.perf_counter() - start
            line("pyhessian", task, seconds, count[0], **{k: g(r) for k, g in rest.items()})
        if "top5" in tasks:
            timed("top5", lambda: h.eigenvalues(maxIter=100, tol=1e-3, top_n=5), eigenvalues=lambda r: [float(v) for v in r[0]])
        if "trace" in tasks:  # a tolerance that never stops: every sample is taken
            timed("trace", lambda: h.trace(maxIter=a.samples, tol=-1e9), value=lambda r: float(np.mean(r)),
                  standard_error=lambda r: float(np.std(r, ddof=1) / np.sqrt(len(r))))
        if "density" in tasks:
            n = sum(p.numel() for p in m.parameters())
            timed("density", lambda: h.density(iter=a.steps, n_v=1), value=lambda r: float(n * sum(e * w for e, w in zip(r[0][0], r[1][0]))),
                  eigenvalues=lambda r: [float(max(r[0][0]))])
        h = None

    if "curvlinops" in tools and {"top5", "top50"} & set(tasks):
        from curvlinops import HessianLinearOperator
        from scipy.sparse.linalg import LinearOperator, eigsh
        params = {n: p for n, p in m.named_parameters()}
        try:
            op = HessianLinearOperator(m, crit, params, [(x, y)], check_deterministic=False)
        except Exception:  # releases before 3 take a list
            op = HessianLinearOperator(m, crit, list(m.parameters()), [(x, y)], check_deterministic=False)
        n = op.shape[0]
        inner = op.to_scipy() if hasattr(op, "to_scipy") else op
        count = [0]
        def matvec(v):
            count[0] += 1
            return np.asarray(inner @ np.asarray(v, dtype=np.float32)).reshape(-1)
        whole = LinearOperator((n, n), matvec=matvec, dtype=np.float32)
        for task, k in (("top5", 5), ("top50", 50)):
            if task in tasks:
                count[0] = 0
                v0 = np.random.default_rng(1).standard_normal(n).astype(np.float32)
                start = time.perf_counter()
                w = eigsh(whole, k=k, which="LA", v0=v0, tol=1e-3, return_eigenvectors=False)
                line("curvlinops", task, time.perf_counter() - start, count[0], eigenvalues=sorted(map(float, w))[::-1])


if __name__ == "__main__":
    main()
