"""`outlay catalog`: the facts behind every number, with unit, source, date and how each was obtained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from outlay.cli.options import FIELDS, Shared, shared_flags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outlay.catalog import Catalog
    from outlay.report.blocks import Block

_NOT_HERE = (*(flag.spellings[0] for flag in FIELDS), "-f", "--set", "--vary", "--save", "-q")


def _catalog(flags: Mapping[str, Any]) -> Catalog:
    from outlay.catalog import load

    return load(extra=(*(flags.get("opt_catalog") or ()), *(flags.get("opt_prices") or ())))


def _answer(
    rows: Sequence[Mapping[str, Any]], blocks: Sequence[Block], flags: Mapping[str, Any], whole: Any = None
) -> int:
    """Rows for JSON and CSV, blocks for screen and Markdown."""
    from outlay.cli.answer import form_of, to_json, write, write_blocks

    if form_of(flags) == "json":
        write(to_json(rows if whole is None else whole) + "\n", flags)
    elif form_of(flags) == "csv":
        from outlay.report.rows import rows_csv

        write(rows_csv(rows), flags)
    else:
        write_blocks(blocks, flags)
    return 0


class _Group(click.Group):
    """Shows the same grouped help as the other verbs, and says what a wrong subcommand may have meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None:
            raise click.UsageError(
                f"no `outlay catalog {args[0]}`; try `outlay catalog show {args[0]}` or "
                f"`outlay catalog search {args[0]}`",
                ctx,
            )
        return super().resolve_command(ctx, args)


@click.group(name="catalog", cls=_Group, invoke_without_command=True, short_help="The facts behind it all.")
@shared_flags(*_NOT_HERE)
@click.pass_context
def command(context: click.Context, /, **flags: Any) -> int | None:
    """The facts behind every number: value, unit, source, date and how each was obtained.

    \b
    outlay catalog                       what there is, and what is missing
    outlay catalog list device           one line an entry
    outlay catalog list price h100       rents by provider and region
    outlay catalog list token gpt-5      prices of tokens
    outlay catalog show h100-sxm5-80gb   every fact about one thing
    outlay catalog search sweden         where a word occurs

    \b
    Your own facts lie on top of these, in every verb:
    --catalog FOLDER  holds KIND.csv with the columns
                      id,parameter,value,unit,low,high,source,retrieved,how,note
    --prices FILE     is a CSV with the columns provider,region,instance,device,
                      devices,kind,usd_per_device_hour,as_of,source,how,note
    """
    if context.invoked_subcommand is not None:
        return None
    from outlay.cli import catalog_pages as pages

    known = _catalog(flags)
    rows = pages.kinds(known)
    holes = pages.holes(known)
    whole = {"catalog": known.date, "kinds": rows, "holes": holes}
    return _answer(rows, pages.overview(known, rows, holes), flags, whole)


@command.command(name="list", cls=Shared)
@click.argument("kind")
@click.argument("words", nargs=-1)
@shared_flags(*_NOT_HERE)
def list_(kind: str, words: tuple[str, ...], **flags: Any) -> int:
    """One line for each entry of KIND, or of those that hold all WORDS."""
    from outlay.cli import catalog_pages as pages

    known = _catalog(flags)
    if kind.rstrip("s") == "price":
        rows = pages.prices(known, words)
        return _answer(rows, pages.price_list(rows), flags)
    if kind.rstrip("s") == "token":
        from outlay.cli import catalog_tokens

        rows = catalog_tokens.tokens(words)
        return _answer(rows, catalog_tokens.token_list(rows), flags)
    kind = pages.kind_of(known, kind)
    rows = pages.entries(known, kind, words)
    plain = [{name: value for name, value in row.items() if name != "_fact"} for row in rows]
    return _answer(plain, pages.entry_list(kind, rows, words), flags)


@command.command(cls=Shared)
@click.argument("name", nargs=-1, required=True)
@shared_flags(*_NOT_HERE)
def show(name: tuple[str, ...], **flags: Any) -> int:
    """Every fact about the thing called NAME (write KIND before it when several kinds know the name)."""
    from outlay.cli import catalog_pages as pages

    known = _catalog(flags)
    entry, others = pages.find(known, name)
    whole = {
        "id": entry.id,
        "kind": entry.kind,
        "name": entry.name,
        "aliases": list(entry.aliases),
        "facts": {f.parameter: f.to_dict() for f in entry},
    }
    return _answer(
        [f.to_dict() for f in entry],
        pages.page(known, entry, others, bool(flags.get("opt_verbose"))),
        flags,
        whole,
    )


@command.command(cls=Shared)
@click.argument("words", nargs=-1, required=True)
@shared_flags(*_NOT_HERE)
def search(words: tuple[str, ...], **flags: Any) -> int:
    """Entries whose id, name, alias or text holds all WORDS."""
    from outlay.cli import catalog_pages as pages

    rows = pages.search(_catalog(flags), words)
    _answer(rows, pages.search_list(rows, words), flags)
    return 0 if rows else 1


catalog = command
