"""What Citus takes of SQL, told from the parse tree alone: for statements on distributed tables.

The rules are those of Citus' documentation (SQL support and workarounds) and some stricter ones, so
that a statement that passes needs one shard, or is one of the kinds that Citus spreads by itself.
A statement is refused for what it might do on any cluster, not for what one shard would allow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pglast import ast, enums, parse_sql

DISTRIBUTED = re.compile(r"(images|nearest|kept)(_\d+)+|images|kept_images")
"""The tables whose rows have a bucket."""

BUCKET = "bucket"
_FLEETING = {"incoming", "two_phase"}
"""A temporary table, and one that stays empty."""

_KEYS = {"sign", "digest"}
_VOLATILE = {"clock_timestamp", "random", "nextval", "gen_random_uuid", "timeofday", "setval"}
_PLACEHOLDER = re.compile(r"%(?:\((\w+)\))?[sbt]")
_ALTERS = {
    enums.AlterTableType.AT_AddColumn,
    enums.AlterTableType.AT_DropColumn,
    enums.AlterTableType.AT_AddConstraint,
    enums.AlterTableType.AT_DropConstraint,
    enums.AlterTableType.AT_ValidateConstraint,
    enums.AlterTableType.AT_SetNotNull,
    enums.AlterTableType.AT_DropNotNull,
}
_Statement = ast.SelectStmt | ast.InsertStmt | ast.UpdateStmt | ast.DeleteStmt


def violations(text: str) -> list[str]:
    """Return what a cluster would not take of a statement, with psycopg's placeholders in it."""
    numbered = _PLACEHOLDER.sub("$1", text).replace("%%", "%")
    return [wrong for raw in parse_sql(numbered) for wrong in _of_statement(raw.stmt)]


def changes(text: str) -> bool | None:
    """Return whether a statement changes rows of a distributed table, or of another that stays.

    None: it changes none, or only what goes with the session.
    """
    numbered = _PLACEHOLDER.sub("$1", text).replace("%%", "%")
    for raw in parse_sql(numbered):
        for node in _walk(raw.stmt):
            if isinstance(node, ast.InsertStmt | ast.UpdateStmt | ast.DeleteStmt):
                name = _name(node.relation)
                if name not in _FLEETING:
                    return DISTRIBUTED.fullmatch(name) is not None
    return None


def distributed(node: Any) -> list[str]:
    """Return the names of the distributed tables in a tree."""
    return [name for name in _tables(node) if DISTRIBUTED.fullmatch(name)]


def _of_statement(node: Any) -> Iterator[str]:
    if not distributed(node):
        return
    if isinstance(node, ast.AlterTableStmt):
        if any(command.subtype not in _ALTERS for command in node.cmds or ()):
            yield "a distributed table is altered in a way that Citus does not pass on"
    elif isinstance(node, ast.CreateTrigStmt):
        yield "a distributed table gets a trigger"
    elif isinstance(node, _Statement):
        yield from _of_query(node, frozenset(), is_top=True)


def _of_query(node: Any, ctes: frozenset[str], *, is_top: bool) -> Iterator[str]:
    """Check one level of a statement, and those below it; ``ctes`` are the names that it sees."""
    ctes |= _names_of_ctes(node)
    own, below = _level(node)
    changes = not isinstance(node, ast.SelectStmt)
    tables = [_name(each) for each in own if isinstance(each, ast.RangeVar)]
    spread = [name for name in tables if DISTRIBUTED.fullmatch(name)]
    if changes and not is_top and distributed(node):
        yield "a CTE changes a distributed table"
    if changes and node.withClause is not None and spread:
        yield "a statement that changes a distributed table has CTEs"
    if isinstance(node, ast.InsertStmt):
        yield from _of_insert(node)
    elif spread:
        yield from _of_rows(node, own, spread, set(tables) - set(spread) - ctes)
        if not changes and any(
            distributed(each) for each in below if _is_in_expression(node, each)
        ):
            yield "an expression of a query on a distributed table reads another"
    for each in below:
        yield from _of_query(each, ctes, is_top=False)


def _of_insert(node: ast.InsertStmt) -> Iterator[str]:
    if not DISTRIBUTED.fullmatch(_name(node.relation)):
        if distributed(node):
            yield "rows of a distributed table are inserted into a table of the coordinator"
        return
    columns = {column.name for column in node.cols or ()}
    if not {"library_id", BUCKET, "sign"} <= columns:
        yield "an insert into a distributed table does not give the bucket"
    if node.selectStmt is not None and distributed(node.selectStmt):
        yield "an insert into a distributed table reads one"


def _of_rows(node: Any, own: list[Any], spread: list[str], local: set[str]) -> Iterator[str]:
    """Check a level that reads, changes or deletes rows of distributed tables.

    ``spread`` are the distributed tables that it names, ``local`` those of the coordinator.
    """
    columns = _compared(own)
    if columns & _KEYS and BUCKET not in columns:
        yield "a condition on a sign or a digest names no bucket"
    if local:
        yield "a distributed table is joined with a table of the coordinator"
    joins = [each for each in own if isinstance(each, ast.JoinExpr)]
    by_bucket = [j for j in joins if BUCKET in {name.sval for name in j.usingClause or ()}]
    if not local and (len(by_bucket) < len(joins) or len(spread) > len(by_bucket) + 1):
        yield "a distributed table is joined without its bucket"
    if isinstance(node, ast.SelectStmt):
        if node.lockingClause and not _has_one_bucket(own):
            yield "rows of more than one bucket are locked"
        if node.targetList is None and not _has_one_bucket(own):
            yield "a query of several buckets has no columns"
        if any(isinstance(each, ast.FuncCall) and each.over is not None for each in own):
            yield "a window function runs over a distributed table"
    if isinstance(node, ast.UpdateStmt):
        called = {_last(each.funcname) for each in own if isinstance(each, ast.FuncCall)}
        if called & _VOLATILE:
            yield "an update of a distributed table calls a volatile function"
        if {target.name for target in node.targetList or ()} & {BUCKET, "library_id", "sign"}:
            yield "an update moves rows to another bucket"


def _level(node: Any) -> tuple[list[Any], list[Any]]:
    """Return the nodes of a statement's own level, and the statements right below it."""
    own: list[Any] = []
    below: list[Any] = []

    def visit(value: Any) -> None:
        if isinstance(value, tuple | list):
            for each in value:
                visit(each)
        elif isinstance(value, _Statement):
            below.append(value)
        elif isinstance(value, ast.Node):
            own.append(value)
            for name in value:
                visit(getattr(value, name))

    for name in node:
        visit(getattr(node, name))
    return own, below


def _walk(node: Any) -> Iterator[Any]:
    if isinstance(node, tuple | list):
        for each in node:
            yield from _walk(each)
    elif isinstance(node, ast.Node):
        yield node
        for name in node:
            yield from _walk(getattr(node, name))


def _tables(node: Any) -> list[str]:
    return [_name(each) for each in _walk(node) if isinstance(each, ast.RangeVar)]


def _name(table: Any) -> str:
    return str(table.relname)


def _last(names: Any) -> str | None:
    """Return the last part of a name, None for a star."""
    return str(names[-1].sval) if isinstance(names[-1], ast.String) else None


def _is_in_expression(node: Any, below: Any) -> bool:
    """Return whether a query is a subselect of an expression, not of FROM or WITH."""
    links = [each for each in _level(node)[0] if isinstance(each, ast.SubLink)]
    return any(each.subselect is below for each in links)


def _column(node: Any) -> str | None:
    return _last(node.fields) if isinstance(node, ast.ColumnRef) else None


def _comparisons(own: list[Any]) -> Iterator[tuple[str, bool]]:
    """Yield the column of each comparison by = or = any, and whether it is of one value."""
    kinds = enums.A_Expr_Kind
    for each in own:
        if isinstance(each, ast.A_Expr) and _last(each.name) == "=":
            for side in (each.lexpr, each.rexpr):
                name = _column(side)
                if name is not None:
                    yield name, each.kind == kinds.AEXPR_OP


def _compared(own: list[Any]) -> set[str]:
    return {name for name, _ in _comparisons(own)}


def _has_one_bucket(own: list[Any]) -> bool:
    return (BUCKET, True) in set(_comparisons(own))


def _names_of_ctes(node: Any) -> set[str]:
    clause = node.withClause
    return set() if clause is None else {each.ctename for each in clause.ctes}
