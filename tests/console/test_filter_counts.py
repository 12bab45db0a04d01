"""How many images pass a filter: told on the page, and counted no further than is cheap."""

from __future__ import annotations

import re
from typing import Any

from psycopg_pool import ConnectionPool

from tests.console import many
from tests.console.conftest import Shop
from tests.console.person import link
from tests.engine.databases import one_postgresql
from tests.engine.image_files import jpeg

MATCHES = re.compile(r"([0-9,]+\+?) images? match")


@one_postgresql
def test_filters_tell_their_count(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Exactly if there are few, and otherwise to where it was counted; on each page the same."""
    shop.add(jpeg(1), '{"sku": "first"}', class_id2="5")
    with pool.connection() as connection:
        many.multiply(connection, shop.name, 1300)
        connection.execute(
            "update images i set class_id1 = case when brief like 'brief %%'::bytea then"
            " 1 + (substr(convert_from(brief, 'UTF8'), 7)::int > 1100)::int end"
            " from libraries l where l.id = library_id and l.name = %s",
            [shop.name],
        )

    def told(query: str) -> list[str]:
        page = shop.looker.get(f"/console/{query}")
        found = MATCHES.findall(page.text)
        following = link(page, "next")
        if following is not None:
            assert found == MATCHES.findall(shop.looker.get(following).text)
        return found

    assert [] == told("")
    for query, count in (
        ("?class_id1=1", "1,000+"),
        ("?class_id1=2", "200"),
        ("?class_id2=5", "1"),
        ("?class_id1=2&class_id2=5", "0"),
        ("?text=brief", "1,000+"),
        ("?text=first", "1"),
        ("?text=BRIEF+110&class_id1=2", "9"),
        ("?since=2020-01-01", "1,000+"),
        ("?since=2020-01-01&class_id1=2", "200"),
        ("?since=2999-01-01", "0"),
    ):
        assert [count] == told(query), query
