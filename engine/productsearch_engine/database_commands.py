"""The commands ``productsearch-engine database …``: their arguments and what they print."""

from __future__ import annotations

import argparse
import math

from productsearch_engine.database import cluster
from productsearch_engine.database.pool import open_pool
from productsearch_engine.limits import SHARDS_DEFAULT, SHARDS_MAX
from productsearch_engine.settings import Settings


def add_actions(database: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Add the actions of ``database``."""
    actions = database.add_subparsers(required=True, metavar="ACTION")
    distribute = actions.add_parser(
        "distribute",
        parents=[common],
        help="distribute the tables of a new database over the workers of a Citus cluster",
    )
    distribute.add_argument(
        "--shards", type=_shards, default=SHARDS_DEFAULT, help="of each table; default %(default)s"
    )
    distribute.add_argument(
        "--dry-run", action="store_true", help="print the SQL instead of running it"
    )
    distribute.set_defaults(run=_distribute)


def _distribute(chosen: Settings, options: argparse.Namespace) -> None:
    if not chosen.database:
        raise cluster.ClusterError(
            "the embedded PostgreSQL is one machine: name the coordinator of a Citus cluster"
            " in PRODUCTSEARCH_ENGINE_DATABASE"
        )
    if options.dry_run:
        for statement in cluster.plan(chosen.database, options.shards):
            print(f"{statement};")
        return
    with open_pool(chosen, 1) as pool, pool.connection() as connection:
        # It makes tables on each worker, for each shard, which may take longer than a call's.
        connection.limit_s = math.inf
        is_new = cluster.distribute(connection, options.shards)
    print("distributed" if is_new else "was distributed before; settings of the nodes renewed")


def _shards(text: str) -> int:
    number = int(text)
    if not 1 <= number <= SHARDS_MAX:
        raise argparse.ArgumentTypeError(f"1 to {SHARDS_MAX}")
    return number
