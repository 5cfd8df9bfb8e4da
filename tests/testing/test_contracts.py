"""The contracts as others use them."""

from __future__ import annotations

import sys

import cozy.testing.contracts


def test_a_contract_that_is_broken_tells_what_it_compared() -> None:
    classes = vars(cozy.testing.contracts)
    modules = {classes[name].__module__ for name in classes if name.endswith("Contract")}
    told = {name: type(sys.modules[name].__loader__).__name__ for name in modules}
    told.pop("cozy.testing.contracts.base")  # it compares nothing
    assert set(told.values()) == {"AssertionRewritingHook"}
    assert len(told) == 3
