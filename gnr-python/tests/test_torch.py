"""gnr.torch: PyTorch networks against their dense Hessians, `gnr spectrum`, and the golden values of Algorithm 1."""

import contextlib
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT, read_safetensors
from torch import nn

from gnr import core, hessian
from gnr.torch import Objective

FIXTURES = ROOT / "gnr-nn/tests/fixtures"


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


class Block(nn.Module):
    """Two convolutions and a shortcut without parameters.

    The shortcut takes every ``stride``-th pixel. New channels are zero, and half of them come before the old ones.
    """

    def __init__(self, i, o, stride):
        super().__init__()
        self.stride, self.new = stride, o - i
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.GroupNorm(o // 4, o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.GroupNorm(o // 4, o)

    def forward(self, x):
        y = self.bn2(self.conv2(F.gelu(self.bn1(self.conv1(x)))))
        before = self.new // 2
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.new - before))
        return F.gelu(y + shortcut)


class ResNet8(nn.Module):
    """`resnet8` of gnr-models with `model.activation = "gelu"` and `model.norm = "group"`, with equal tensor names."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.GroupNorm(2, 8)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(Block(i, o, stride)) for i, o, stride in [(8, 8, 1), (8, 16, 2), (16, 32, 2)]
        )
        self.linear = nn.Linear(32, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.gelu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean(dim=(2, 3)))


def resnet8():
    """The objective of the net with the weights and the batch of gnr-train's tests."""
    tensors, _ = read_safetensors(ROOT / "gnr-train/tests/fixtures/spectrum_resnet8.safetensors")
    model = ResNet8().double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(tensors[name].copy()))
    x, y = torch.from_numpy(tensors["x"].copy()).double(), torch.from_numpy(tensors["y"].copy())
    return Objective(model, lambda m: F.cross_entropy(m(x), y))


def test_the_spectrum_of_a_resnet_is_that_of_gnr_spectrum():
    objective = resnet8()
    assert objective.dim == 19_218
    found = hessian.eigenpairs(objective.matvec(), objective.dim, 3, which="both", tolerance=1e-6)
    # These are the values of `gnr spectrum` and of SciPy's ARPACK: `the_reference_problem` in
    # gnr-train/tests/it/curvature.rs.
    ours = [
        15.778936690259831,
        8.640444228114523,
        6.968205515276511,
        -7.434890307232421,
        -6.135627321907212,
        -5.916053973773989,
    ]
    # Both programs compute in f64. An eigenvalue is off by residual² over its gap, about 1e-10.
    np.testing.assert_allclose(found.values, ours, rtol=1e-9)
    print("resnet8:", found.values.tolist(), "after", found.num_matvecs, "products")


def mlp(dtype=torch.float64):
    """The objective of the golden net, the golden tensors, and a function that joins those of one kind."""
    tensors, metadata = read_safetensors(FIXTURES / "mlp_tanh.safetensors")
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 4)).to(dtype)
    order = json.loads(metadata["param_order"])
    assert order == [name for name, _ in model.named_parameters()]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(tensors[f"param.{name}"].copy()))
    x, y = torch.from_numpy(tensors["x"].copy()).to(dtype), torch.from_numpy(tensors["y"].copy())
    objective = Objective(model, lambda m: F.cross_entropy(m(x), y))
    flat = lambda kind: np.concatenate([tensors[f"{kind}.{name}"].ravel() for name in order])  # noqa: E731
    return objective, tensors, flat


def test_the_spectrum_of_a_small_net_is_that_of_its_dense_hessian():
    objective, tensors, flat = mlp()
    product = objective.matvec()
    dense = np.stack([product(row) for row in np.eye(objective.dim)])
    np.testing.assert_allclose(dense, tensors["hessian"], atol=1e-14)
    np.testing.assert_allclose(product(flat("v")), flat("hv"), atol=1e-14)
    expected = tensors["hess_eigs"]
    found = hessian.eigenpairs(product, objective.dim, 5, which="both", tolerance=1e-8)
    np.testing.assert_allclose(found.values, [*expected[::-1][:5], *expected[:5]], atol=1e-12)
    trace = hessian.trace(product, objective.dim, 118 * 2, method="xtrace")
    assert trace.end == "exact" and trace.value == pytest.approx(float(tensors["hess_trace"]), abs=1e-10)


def test_algorithm_1_has_the_golden_values():
    objective, known, flat = mlp()
    rho, alpha, eta, xi, fd = (float(known[name]) for name in ("rho", "alpha", "eta", "xi", "fd"))
    gnr = core.gnr(rho=rho, alpha=alpha, xi=xi)

    def after(regularizers, optimizer=None, rate=eta, steps=1, **options):
        theta = flat("param").copy()
        method = core.Method(regularizers, optimizer, rate, **options)
        losses = [method.step(theta, objective).loss for _ in range(steps)]
        return theta, losses

    exact = dict(rtol=0, atol=1e-13)
    np.testing.assert_allclose(after(gnr)[0], flat("theta_new"), **exact)
    sam = core.sam(rho=float(known["rho_sam"]))
    np.testing.assert_allclose(after([sam, gnr])[0], flat("theta_new_sam_gnr"), **exact)
    # A difference rounds the gradient to 1e-16/fd, and a step has two of them.
    differences = after(gnr, products="forward-difference", difference_step=fd)[0]
    np.testing.assert_allclose(differences, flat("theta_new_fd"), rtol=0, atol=1e-11)
    theta, losses = after(gnr, steps=5)
    np.testing.assert_allclose(theta, flat("traj_final"), **exact)
    np.testing.assert_allclose(losses, known["traj_loss"], **exact)
    sgd = core.sgd(momentum=float(known["momentum"]), weight_decay=float(known["wd"]))
    np.testing.assert_allclose(after(gnr, sgd, steps=5)[0], flat("trajmom_final"), **exact)
    adamw = core.adamw(betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    theta, _ = after(gnr, adamw, rate=float(known["eta_adamw"]), steps=5)
    np.testing.assert_allclose(theta, flat("trajadamw_final"), **exact)


def test_single_precision_agrees_with_double():
    double, _, flat = mlp()
    single, _, _ = mlp(torch.float32)
    assert (single.theta().dtype, double.theta().dtype) == (np.float32, np.float64)
    exact = hessian.eigenpairs(double.matvec(), double.dim, 3, tolerance=1e-6).values
    found = hessian.eigenpairs(single.matvec(), single.dim, 3, dtype=np.float32, tolerance=1e-4).values
    # Products in single precision round to 1e-7 of the norm.
    np.testing.assert_allclose(found, exact, rtol=2e-6)


def batch_norm_net():
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 2)
    ).double()
    x, y = torch.randn(8, 2, 6, 6).double(), torch.tensor([0, 1] * 4)
    return model, Objective(model, lambda m: F.cross_entropy(m(x), y))


def test_an_evaluation_that_fails_moves_no_running_statistics():
    bn = nn.BatchNorm1d(2).double()
    x = torch.tensor([[1.0, 2.0], [3.0, 5.0]], dtype=torch.float64)

    def fails(model):
        model(x)
        raise RuntimeError("mine")

    for loss in (fails, lambda model: model(x * float("nan")).sum()):
        objective = Objective(bn, loss)
        with contextlib.suppress(RuntimeError):
            objective.commit(objective.theta())
        assert bn.running_mean.tolist() == [0.0, 0.0] and int(bn.num_batches_tracked) == 0
    objective = Objective(bn, lambda model: (model(x) ** 3).sum())
    objective.commit(objective.theta())
    np.testing.assert_allclose(bn.running_mean.numpy(), [0.2, 0.35])


def test_running_statistics_move_once_a_step():
    model, objective = batch_norm_net()
    bn = model[1]
    method = core.Method(
        [core.sam(), core.gnr(), core.sam_on()],
        core.muon(),
        0.01,
        shapes=objective.shapes,
        normalisation=objective.normalisation,
    )
    assert objective.normalisation == [False, False, True, True, False, False]
    theta = objective.theta()
    for step in range(1, 4):
        before = bn.running_mean.clone()
        method.step(theta, objective)
        assert int(bn.num_batches_tracked) == step and not torch.equal(bn.running_mean, before)
    before = {name: value.clone() for name, value in model.state_dict().items() if "running" in name}
    hessian.eigenpairs(objective.matvec(theta), objective.dim, 2)
    objective(theta)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_the_loss_falls_with_every_registered_optimiser():
    for entry in core.methods("optimizer"):
        _, objective = batch_norm_net()
        optimizer = getattr(core, entry.function)()
        lr = next(setting.default for setting in entry.settings if setting.name == "lr")
        method = core.Method(core.gnr(), optimizer, lr / 4, shapes=objective.shapes)
        theta = objective.theta()
        losses = [method.step(theta, objective).loss for _ in range(30)]
        assert objective(method.solution(theta))[0] < losses[0], entry.name


def test_parameters_that_are_frozen_or_unused_are_no_obstacle():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)).double()
    model.unused = nn.Parameter(torch.ones(3).double())
    model[0].weight.requires_grad_(False)
    x = torch.ones(4, 2).double()
    objective = Objective(model, lambda m: (m[1](torch.tanh(m[0](x))) ** 2).mean())
    assert objective.dim == 3 + 2 + 2 + 1 and "0.weight" not in objective.names
    dense = np.stack([objective.matvec()(row) for row in np.eye(objective.dim)])
    np.testing.assert_allclose(dense, dense.T, atol=1e-15)
    unused = objective.names.index("unused")
    assert unused == 0 and (dense[:3] == 0).all() and (dense[3:, 3:] != 0).any()
    linear = Objective(model, lambda m: m[1].bias.sum())
    assert (linear.matvec()(np.ones(linear.dim)) == 0).all()


def test_products_of_a_point_that_was_left_are_refused():
    objective = Objective(nn.Linear(2, 1).double(), lambda m: m.weight.pow(3).sum() + m.bias.sum())
    product = objective.matvec()
    product(np.ones(objective.dim))
    objective(np.ones(objective.dim))
    with pytest.raises(RuntimeError, match=r"found changed ones; call matvec\(\) again"):
        product(np.ones(objective.dim))
    objective.matvec()(np.ones(objective.dim))


def test_bfloat16_parameters_have_gradients_and_products():
    model = nn.Linear(3, 1, bias=False).bfloat16()
    objective = Objective(model, lambda m: (m.weight**2).sum())
    theta = np.array([1.0, -2.0, 0.5], dtype=np.float32)
    method = core.Method(core.gnr(), core.sgd(momentum=0.0, weight_decay=0.0), 0.25)
    moved = theta.copy()
    method.step(moved, objective)
    assert objective(theta)[1].tolist() == [2.0, -4.0, 1.0] and objective.hvp(theta, theta).tolist() == [2.0, -4.0, 1.0]
    assert moved.dtype == np.float32 and (np.abs(moved) < np.abs(theta)).all()


@pytest.mark.skipif(not hasattr(nn, "RMSNorm"), reason="PyTorch has RMSNorm from 2.4 on")
def test_rms_norm_is_a_normalisation():
    model = nn.Sequential(nn.Linear(2, 3), nn.RMSNorm(3))
    assert Objective(model, lambda m: m[1].weight.sum()).normalisation == [False, False, True]


def test_what_cannot_be_an_objective_is_told():
    model = nn.Linear(2, 1)
    with pytest.raises(TypeError, match="model: expected a torch.nn.Module, found function"):
        Objective(lambda x: x, model)
    with pytest.raises(TypeError, match="loss: expected a callable"):
        Objective(model, 3)
    with pytest.raises(ValueError, match="require gradients, found none"):
        Objective(nn.Flatten(), lambda m: 0)
    with pytest.raises(TypeError, match=r"loss: expected a scalar tensor, found shape \(4, 1\)"):
        Objective(model, lambda m: m(torch.ones(4, 2)))(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"expected an array of shape \(3,\), found shape \(2,\)"):
        Objective(model, lambda m: m(torch.ones(1, 2)))(np.zeros(2, np.float32))


def test_tensors_that_require_gradients_are_taken_as_they_are():
    scale = torch.tensor([1.0, 5.0, 2.0], dtype=torch.float64, requires_grad=True)
    found = hessian.eigenpairs(lambda v: scale * torch.from_numpy(v), 3, 1)
    assert abs(found.values[0] - 5.0) < 1e-12
    weights = torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64)

    def loss_and_grad(theta):
        x = torch.from_numpy(theta).requires_grad_()
        loss = 0.5 * (weights * x * x).sum()
        loss.backward()
        return loss, x.grad

    theta = np.ones(3)
    core.Method(None, None, 0.1).step(theta, loss_and_grad)
    np.testing.assert_allclose(theta, [0.9, 0.6, 0.1], rtol=1e-15)
