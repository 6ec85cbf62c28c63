"""The contract of engines, with doubles in place of Huawei's tools; see `assay.engine_contract`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from assay.engine_contract.suite import *  # noqa: F403 - collected here, beside the fixtures of tests


@pytest.fixture(name="prepare_machine")
def put_doubles_in_place(request: pytest.FixtureRequest) -> Callable[[str], None]:
    return lambda name: request.getfixturevalue("ascend_tools") if name == "ascend" else None
