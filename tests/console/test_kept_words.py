"""Whatever a form is refused for, what somebody wrote is in the answer, to be sent again."""

from __future__ import annotations

import html
import re
from typing import Any

from psycopg_pool import ConnectionPool

from productsearch_engine.console import forms, resent
from productsearch_engine.limits import RESENT_BYTES_MAX
from productsearch_engine.store.users import Users
from tests.console.conftest import Shop
from tests.console.person import signs_of
from tests.engine.databases import one_postgresql
from tests.engine.image_files import jpeg


def test_a_role_that_was_taken_away(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """Who may only look by now finds the words, and nothing to send."""
    sign = shop.add(jpeg(1), "before")
    Users(pool).change(f"edit-{shop.name.removeprefix('shop-')}", role="look", password_hash=None)
    refused = shop.editor.send(f"/console/images/{sign}", {"brief": "long <words>"})
    assert 403 == refused.status_code
    assert '<p class="wrote">long &lt;words&gt;</p>' in refused.text
    assert "Send it again" not in refused.text
    bulk = [("sign", sign), ("brief_do", "member"), ("key", "k"), ("value", "a <value>")]
    assert "a &lt;value&gt;" in shop.editor.send("/console/edit/apply", bulk).text


@one_postgresql
def test_a_database_that_is_away_for_a_moment(shop: Shop, pool: ConnectionPool[Any]) -> None:
    """The form is in the page of the error, and is taken when it is sent again."""
    sign = shop.add(jpeg(1), "before")
    with pool.connection() as connection:
        row = connection.execute("select id from libraries where name = %s", [shop.name]).fetchone()
        assert row
        connection.execute(
            "create function away() returns trigger language plpgsql as"
            " $$begin raise exception using errcode = '57P03', message = 'away'; end$$"
        )
        connection.execute(
            f"create trigger away before update on images_{row[0]}"
            " for each row execute function away()".encode()
        )
    address = f"/console/images/{sign}"
    version = re.findall(r'name="version" value="(\d+)"', shop.editor.get(address).text)[0]
    refused = shop.editor.send(address, {"brief": 'my "words"', "version": version})
    with pool.connection() as connection:
        connection.execute("drop function away cascade")
    assert refused.status_code >= 500
    form = refused.text.partition(f'action="{address}"')[2].partition("</form>")[0]
    fields = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)
    sent = {name: html.unescape(value) for name, value in fields}
    assert 'my "words"' == sent["brief"]
    assert (
        303
        == shop.editor.session.post(
            shop.editor.url + address, data=sent, allow_redirects=False, timeout=60
        ).status_code
    )
    assert "my &#34;words&#34;" in shop.editor.get(address).text


def test_what_is_not_kept() -> None:
    """No password, and nothing of a form that is long."""
    kept = forms.Form(fields=[("name", "mei"), ("password", "secret")])
    assert [("name", "mei")] == resent.kept(kept).fields
    long = forms.Form(fields=[("brief", "x" * RESENT_BYTES_MAX)])
    assert [] == resent.kept(long).fields


def test_a_neighbour_that_is_gone_leads_back_to_its_list(shop: Shop) -> None:
    """With the filters and the order of the list."""
    sign = shop.add(jpeg(1), "one")
    shop.add(jpeg(2), '{"id": "", "name": "two"}')
    shop.caller.call("delete", cont_sign=sign)
    gone = shop.editor.get(f"/console/images/{sign}?text=two&sort=brief")
    assert 404 == gone.status_code
    back = html.unescape(re.findall(r'<a class="button" href="([^"]*)">Back', gone.text)[0])
    assert "/console/?text=two&sort=brief" == back
    assert 1 == len(signs_of(shop.editor.get(back)))


def test_a_first_value_that_is_empty(shop: Shop) -> None:
    """The title is of those that are not; if all are, it is the brief."""
    shop.add(jpeg(1), '{"id": "", "name": "two"}')
    shop.add(jpeg(2), '{"id": ""}')
    titles = re.findall(r'<span class="title">(.*?)</span>', shop.looker.get("/console/").text)
    assert ['{"id": ""}', "two"] == [html.unescape(each) for each in titles]
