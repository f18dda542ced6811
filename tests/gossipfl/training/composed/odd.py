"""Odd layers: those that draw, remember, change or look at what a plain layer does not. They keep the shape."""

from __future__ import annotations

import random as of_python

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from tests.gossipfl.training.composed.form import Makers, call, noise

__all__ = ["ODD"]


def without_gradient(function):
    def act(*arguments):
        with torch.no_grad():
            return function(*arguments)

    return act


def _remembering(buffer, change, use=lambda x, b: x + b.float()):
    """Layer that changes a buffer, and uses it."""

    def forward(m, x):
        without_gradient(change)(m, x)
        return use(x, m.b)

    return lambda shape, random: call(forward, b=buffer.clone())


def _same(buffer, use=lambda x, b: x + b):
    return lambda shape, random: call(lambda m, x: use(x, m.b), b=buffer.clone())


def _linear(forward):
    return lambda shape, random: call(forward, f=nn.Linear(shape[-1], shape[-1]))


def _hooked(attach):
    def make(shape, random):
        layer = nn.Linear(shape[-1], shape[-1])
        attach(layer)
        return layer

    return make


def _assign(m, x):
    m.b = m.b + 1


def _python(shape, random):
    return call(lambda m, x: x * m.c + (1 if m.training else 0), c=(torch.tensor(of_python.random()),))


def _not_persistent(shape, random):
    module = call(lambda m, x: x * m.c)
    module.register_buffer("c", torch.rand(()), persistent=False)
    return module


def _shared_memory(shape, random):
    whole = torch.ones(2)
    return call(lambda m, x: x * m.a.sum() * m.b, a=nn.Parameter(whole), b=nn.Parameter(whole[:1]))


def _buffer_in_parameter(shape, random):
    whole = nn.Parameter(torch.ones(2))
    return call(lambda m, x: x * m.a.sum() + m.b, a=whole, b=whole.data[:1])


def halved(module, gradients, of_outputs):
    return tuple(None if each is None else each * 0.5 for each in gradients)


def clipped(m, x):
    if x.requires_grad:
        x.register_hook(lambda gradient: gradient.clamp(-0.01, 0.01))
    return x


def halve(parameter):
    parameter.grad.mul_(0.5)


def _gradient_inside(m, x):
    with torch.enable_grad():
        y = m.f(x)
        (slope,) = torch.autograd.grad(y.square().sum(), y, create_graph=True)
        return y + 0.1 * slope


def _numpy(m, x):
    return x * float(np.tanh(x.detach().numpy()).mean() + 1)


def _autocast(m, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = m.f(x)
    return y.float()


def _parametrised(shape, random):
    class Positive(nn.Module):
        def forward(self, weight):
            return functional.softplus(weight)

    layer = nn.Linear(shape[-1], shape[-1])
    parametrize.register_parametrization(layer, "weight", Positive())
    return layer


def _moving(m, x):
    m.slow.lerp_(m.f.weight, 0.5)


class Straight(torch.autograd.Function):
    """Sign forwards, the identity backwards."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x.sign()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def nested(m, x):
    return checkpoint(lambda y: checkpoint(m.f, y, use_reentrant=False).tanh(), x, use_reentrant=False)


def reentrant(m, x):
    return checkpoint(
        lambda y: m.f(y).tanh(), x.clone().requires_grad_() if not x.requires_grad else x, use_reentrant=True
    )


whole = torch.tensor
ODD: Makers = {
    # what is drawn
    "dropout": lambda s, r: nn.Dropout(0.4),
    "dropout in place": lambda s, r: nn.Dropout(0.4, inplace=True),
    "alpha dropout": lambda s, r: nn.AlphaDropout(0.3),
    "functional dropout": lambda s, r: call(lambda m, x: functional.dropout(x, 0.3, m.training)),
    "feature dropout": lambda s, r: nn.Dropout1d(0.4) if len(s) == 2 else nn.FeatureAlphaDropout(0.3),
    "rrelu": lambda s, r: nn.RReLU(),
    "noise": lambda s, r: call(lambda m, x: x + 0.1 * torch.randn_like(x)),
    "noise in evaluation too": lambda s, r: call(lambda m, x: x * (1 + 0.1 * torch.rand(()))),
    "python's random": lambda s, r: call(lambda m, x: x * (1 + 0.1 * of_python.random())),
    "NumPy's random": lambda s, r: call(lambda m, x: x * (1 + 0.1 * float(np.random.rand()))),
    "bernoulli depth": lambda s, r: call(
        lambda m, x: m.f(x) if torch.rand(()) < 0.5 else x, f=nn.Linear(s[-1], s[-1])
    ),
    # what is remembered
    "counter": _remembering(whole(0), lambda m, x: m.b.add_(1), lambda x, b: x / b),
    "counter, int32": _remembering(
        whole(2**30, dtype=torch.int32), lambda m, x: m.b.add_(1), lambda x, b: x * (b - 2**30)
    ),
    "counter, int16": _remembering(whole(0, dtype=torch.int16), lambda m, x: m.b.add_(1), lambda x, b: x / b),
    "counter, assigned": _remembering(whole(1), _assign, lambda x, b: x / b),
    "float64 mean": _remembering(
        torch.zeros((), dtype=torch.float64), lambda m, x: m.b.lerp_(x.mean().double(), 0.1)
    ),
    "half mean": _remembering(
        torch.zeros((), dtype=torch.float16), lambda m, x: m.b.lerp_(x.mean().half(), 0.1)
    ),
    "bfloat16 mean": _remembering(torch.zeros((), dtype=torch.bfloat16), lambda m, x: m.b.add_(1)),
    "switch": _remembering(
        whole([True, False])[0], lambda m, x: m.b.logical_not_(), lambda x, b: torch.where(b, x, -x)
    ),
    "moving weight": lambda s, r: call(
        lambda m, x: (without_gradient(_moving)(m, x), m.f(x) + functional.linear(x, m.slow))[1],
        f=nn.Linear(s[-1], s[-1]),
        slow=torch.zeros(s[-1], s[-1]),
    ),
    # what stays
    "infinite mask": _same(whole([-torch.inf]), lambda x, b: x + b.clamp(min=-1)),
    "buffer of NaN": _same(whole([torch.nan]), lambda x, b: x + b.nan_to_num()),
    "half buffer": _same(whole(0.1, dtype=torch.float16)),
    "uint8 buffer": _same(whole(200, dtype=torch.uint8), lambda x, b: x * b / 200),
    "bool buffer": _same(whole(True)),
    "float64 buffer": _same(whole(1 / 3, dtype=torch.float64), lambda x, b: x * b.float()),
    "large buffer": _same(whole(2**53 + 1), lambda x, b: x + (b - 2**53)),
    "complex buffer": _same(whole(1j), lambda x, b: x + b.imag),
    "no buffer": lambda s, r: call(lambda m, x: x if m.b is None else -x, b=None),
    "not persistent": _not_persistent,
    "constant": lambda s, r: call(lambda m, x: x * m.c, c=(torch.rand(()),)),
    "constant of python": _python,
    # what changes parameters, or is computed later
    "clamped": _linear(lambda m, x: (without_gradient(m.f.weight.clamp_)(-0.2, 0.2), m.f(x))[1]),
    "clamped data": _linear(lambda m, x: (m.f.weight.data.clamp_(-0.2, 0.2), m.f(x))[1]),
    "in place": lambda s, r: call(lambda m, x: x.mul_(1.5)),
    "in place on a copy": lambda s, r: call(lambda m, x: x.clone().add_(0.5)),
    "checkpoint": _linear(lambda m, x: checkpoint(m.f, x, use_reentrant=False)),
    "nested checkpoints": _linear(nested),
    "reentrant checkpoint": _linear(reentrant),
    "detached": _linear(lambda m, x: m.f(x) + m.f(x).detach()),
    "branch": _linear(lambda m, x: m.f(x) if x.mean() > 0 else x * 2),
    "loop": _linear(lambda m, x: x + sum(m.f(x) for _ in range(1 + int(x.abs().max().item() > 1)))),
    "numpy": lambda s, r: call(_numpy),
    "double precision inside": lambda s, r: call(lambda m, x: x.double().square().float()),
    "rounded": lambda s, r: call(lambda m, x: x + x.long().float()),
    "autocast": _linear(_autocast),
    "gradient inside": _linear(_gradient_inside),
    "own function": lambda s, r: call(lambda m, x: x + Straight.apply(x)),
    "parametrised": _parametrised,
    # hooks
    "forward hook": _hooked(lambda f: f.register_forward_hook(lambda m, i, o: o * 2)),
    "forward hook that looks": _hooked(lambda f: f.register_forward_hook(lambda m, i, o: None)),
    "pre hook": _hooked(lambda f: f.register_forward_pre_hook(lambda m, i: (i[0] + 1,))),
    "backward hook": _hooked(lambda f: f.register_full_backward_hook(halved)),
    "parameter hook": _hooked(lambda f: f.weight.register_hook(lambda g: g * 0.5)),
    "clipping hook": _hooked(lambda f: f.weight.register_hook(lambda g: g.clamp(-0.01, 0.01))),
    "accumulation hook": _hooked(lambda f: f.weight.register_post_accumulate_grad_hook(halve)),
    "tensor hook": lambda s, r: call(clipped),
    # forms of parameters
    "empty parameter": lambda s, r: call(lambda m, x: x + m.p.sum(), p=nn.Parameter(torch.empty(0, 3))),
    "number": lambda s, r: call(lambda m, x: x * m.p, p=nn.Parameter(whole(0.5))),
    "turned parameter": lambda s, r: call(lambda m, x: x @ m.p, p=nn.Parameter(noise(3, s[-1]).mT)),
    "strided parameter": lambda s, r: call(lambda m, x: x * m.p, p=nn.Parameter(noise(s[-1], 2)[:, 0])),
    "expanded parameter": lambda s, r: call(
        lambda m, x: x * m.p, p=nn.Parameter(torch.ones(1).expand(s[-1]))
    ),
    "shared memory": _shared_memory,
    "buffer in a parameter": _buffer_in_parameter,
    "complex arithmetic": lambda s, r: call(
        lambda m, x: x * torch.view_as_complex(m.p).abs(), p=nn.Parameter(torch.ones(1, 2))
    ),
    "complex parameter": lambda s, r: call(lambda m, x: x * m.p.abs(), p=nn.Parameter(whole(1 + 1j))),
    "lazy": lambda s, r: nn.LazyLinear(3),
    "free tensor": lambda s, r: call(lambda m, x: x * m.c, c=(torch.ones((), requires_grad=True),)),
    "bfloat16 layer": lambda s, r: call(
        lambda m, x: m.f(x.bfloat16()).float(), f=nn.Linear(s[-1], 4).bfloat16()
    ),
    "float64 layer": lambda s, r: call(lambda m, x: m.f(x.double()).float(), f=nn.Linear(s[-1], 4).double()),
    "frozen half layer": lambda s, r: call(
        lambda m, x: m.f(x.half()).float(),
        f=nn.Linear(s[-1], s[-1]).half().requires_grad_(requires_grad=False),
    ),
}
