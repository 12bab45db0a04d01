"""The small version of the rolling soak."""

from __future__ import annotations

import pytest

from tests.mesh import rolling
from tests.mesh.tools import need
from tests.soak.measures import assert_kept


@pytest.mark.slow
def test_nobody_notices_that_replicas_are_replaced() -> None:
    """Ten stops under load: no call failed, no bulk item lost, exit code 0 each time."""
    need("openssl")
    assert_kept(rolling.run(rolling.SMALL))
