"""The small version of the balance soak."""

from __future__ import annotations

import pytest

from tests.mesh import balance
from tests.mesh.tools import need
from tests.soak.measures import assert_kept


@pytest.mark.slow
def test_calls_are_shared_and_go_on_without_a_replica() -> None:
    """Calls are spread evenly; a killed and a frozen facade are left out, calls go on."""
    need("openssl")
    assert_kept(balance.run(balance.SMALL))
