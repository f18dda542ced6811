"""Kernels compiled for this machine's vectors, and for shorter ones."""

import pytest
import torch


@pytest.fixture(scope="module", params=["as wide as here", "AVX2"])
def both_widths(request):
    """The test module's ``KERNEL`` for this machine, and for one whose vectors are half as long."""
    kernel = request.module.KERNEL
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "AVX2":
            if torch.backends.cpu.get_cpu_capability() not in {"AVX2", "AVX512"}:
                pytest.skip("not this processor")
            patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
        found = kernel._library.__wrapped__()
        assert found is not None
        patch.setattr(kernel, "_library", lambda: found)
        yield
