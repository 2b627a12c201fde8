"""`outlay data`: what the tokens of a model take before it is trained."""

from __future__ import annotations

from typing import Any

import click

from outlay.cli.options import OF_TRAINING, Shared, shared_flags

# spellings, field of the scenario, metavar, help
FIELDS: tuple[tuple[str, str, str, str], ...] = (
    ("--dataset", "datasets", "NAME", "A known corpus: fineweb, c4-en. Repeatable; the rest is cleaned from the web."),
    ("--licence", "licences", "NAME", "A licensing deal: reddit-google, news-corp-openai. Repeatable."),
    ("--tier", "storage.tier", "NAME", "Where it is kept: s3-standard, r2, b2, gcs-standard."),
    ("--keep", "storage.retention", "TIME", "How long it is kept: 2y."),
    ("--preferences", "annotation.preferences", "N", "Comparisons by people."),
    ("--synthetic", "synthetic.tokens", "N", "Tokens written by a model."),
    ("--synthetic-usd", "synthetic.usd_per_million_tokens", "USD", "Price of a million of them."),
    ("--engineers", "engineers", "N", "People at work on the data."),
)
MANY = ("datasets", "licences")
NOT_SHARED = (*(f for f in OF_TRAINING if f != "--tokens"), "-p", "--deadline", "--top-k", "--for")


def _flags(function: Any) -> Any:
    for flag, field, metavar, text in reversed(FIELDS):
        name, many = f"data_{field.replace('.', '__')}", field in MANY
        function = click.option(flag, name, metavar=metavar, help=text, multiple=many)(function)
    return click.option("--classifier", "data_classifier", is_flag=True, help="Score the text with a small model.")(
        function
    )


@click.command(cls=Shared, name="data", short_help="Plan the data of a model.")
@click.argument("subject", required=False)
@_flags
@shared_flags(*NOT_SHARED)
def command(subject: str | None, **flags: Any) -> int:
    """What data takes: tokens and bytes by stage, cleaning, annotation, licences, storage; money, energy, carbon.

    SUBJECT is a scenario file, a result, or a model whose tokens are counted. What named corpora do not give is cleaned
    from a web archive. Leaves with 0, with 1 when a budget is missed, 2 on bad input.

    \b
    outlay data -n 1T -s aws:us-east-1
    outlay data -n 300B --dataset fineweb --keep 2y
    outlay data -f plan.yaml --licence reddit-google --preferences 100000
    """
    from outlay.cli.life import answer_life

    flags["opt_set"] = (*assignments(flags), *(flags.get("opt_set") or ()))
    return answer_life(subject, flags, "data")


def assignments(flags: dict[str, Any]) -> list[str]:
    """The data flags as --set would write them; --set itself comes after and wins."""
    found = []
    for _, field, _, _ in FIELDS:
        value = flags.pop(f"data_{field.replace('.', '__')}", None)
        if value:
            found.append(f"data.{field}={'[' + ','.join(value) + ']' if field in MANY else value}")
    if flags.pop("data_classifier", False):
        found.append("data.classifier={}")
    return found
