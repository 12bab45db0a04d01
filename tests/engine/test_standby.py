"""A database that takes no changes, as after a failover to a standby: code 2, then as before."""

from __future__ import annotations

import psycopg
import pytest

from productsearch_engine.api.error_mapping import api_error
from tests.engine.calling import Caller, code_of
from tests.engine.copies import Template, copied
from tests.engine.databases import connected
from tests.engine.image_files import jpeg


def test_a_standby(template: Template) -> None:
    """Changes are code 2, searches and tokens go on; once it takes changes again, all do."""
    with copied(template) as engine:
        caller = Caller(engine.url, *template.keys)
        sign = caller.call("add", image=jpeg(1), brief="one")["cont_sign"]
        for setting, changed in (("on", 2), ("off", 0)):
            with connected(engine) as database:
                database.execute(f"alter system set default_transaction_read_only = {setting}")
                database.execute("select pg_reload_conf()")
            for _ in range(100):  # the reload is seen by each connection at its next statement
                told = code_of(caller.call("update", cont_sign=sign, brief="two"))
                if told == changed:
                    break
            assert changed == told
            assert changed == code_of(caller.call("add", image=jpeg(2), brief="two"))
            assert 0 == code_of(caller.call("search", image=jpeg(1)))
            assert 200 == caller.ask_token().status_code
        caller.close()
        engine.stop()
        assert "Traceback" not in engine.log()


PASSING = ("25006", "25P03", "40001", "40P01", "53300", "55P03", "57P01", "57P02", "57P03", "58030")


@pytest.mark.parametrize("state", [*PASSING, "72000"])
def test_what_passes_is_unavailable(state: str) -> None:
    """What a database says of itself in a failover or under load is code 2, never 282000."""
    assert 2 == api_error(psycopg.errors.lookup(state)("x"), 1).code
