"""`data:` and the catalogue → what the data plan needs: tokens by source, yields, prices, retention."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from outlay.derive import Num, Quantity, derive, exact
from outlay.errors import BadValue, Inconsistent
from outlay.resolve.calendar import Defaults
from outlay.resolve.data.pieces import Piece, annotation, licences
from outlay.resolve.data.storage import StoragePlan, resolve_storage
from outlay.resolve.fleet import given
from outlay.resolve.people import engineer_price, or_default
from outlay.scenario_io import to_plain
from outlay.scenario_life import Classifier, Corpus, Data, Synthetic, Yields

SMALL_VOCABULARY = 65_536  # token ids that fit 16 bits
YEAR_S = 31_557_600.0


class Source(Struct, frozen=True):
    """A known corpus, or the part of it that is used."""

    name: str
    tokens: float
    text_bytes: Quantity
    licence: str


class DataPhase(Struct, frozen=True):
    """The data phase, every input known; `cleaned` tokens come from a web archive."""

    tokens: float
    sources: tuple[Source, ...]
    cleaned: float
    raw_bytes_per_token: Quantity
    kept: dict[str, Quantity]  # by stage, in order: deduplicated, filtered and, if asked for, classified
    text_bytes_per_token: Quantity
    bytes_per_token: Quantity
    core_hours_per_byte: Quantity
    classifier: dict[str, Quantity]
    ablation_device_hours: float
    synthetic: dict[str, Any]
    pieces: tuple[Piece, ...]
    storage: StoragePlan
    engineers: float
    duration_s: Quantity
    hours_per_year: Quantity
    prices: dict[str, Num] = field(default_factory=dict)  # for Rates.usd_per_unit
    core_w: Num = 0.0


def resolve_data(
    data: Data,
    trained_tokens: float | None,
    vocab: int | None,
    provider: str,
    horizon_s: float | None,
    defaults: Defaults,
) -> tuple[DataPhase, dict[str, Any]]:
    """The data phase and the fields its scenario shows; horizon_s: end of the life around it, if there is one."""
    shown: dict[str, Any] = to_plain(data)
    prices: dict[str, Num] = {}
    synthetic, written = _synthetic(data.synthetic, prices, defaults)
    tokens, sources, cleaned = _tokens(data, trained_tokens, written, defaults)
    shown["tokens"] = tokens
    kept, raw = _yields(data, cleaned, defaults)
    text = or_default(
        data.text_bytes_per_token,
        "bytes",
        "text bytes per token",
        "data.text_bytes_per_token",
        "data.text_bytes_per_token",
        defaults,
    )
    pieces = [*annotation(data.annotation, prices, defaults), *licences(data.licences or [], prices, defaults)]
    storage = resolve_storage(data.storage, provider, horizon_s, prices, defaults)
    duration = or_default(data.duration, "s", "time to gather the data", "data.duration_s", "data.duration", defaults)
    cores = cleaned > 0
    prices |= _cores(data, defaults) if cores else {}
    defaults.notes.assume("embodied carbon of storage and cores", 0.0, "not counted: no factor with a source is in the "
                          "catalogue; what they draw is")
    hours = _people(data, prices, defaults)
    _gathering(data, cores, prices, defaults)
    return DataPhase(
        tokens=tokens,
        sources=sources,
        cleaned=cleaned,
        raw_bytes_per_token=raw,
        kept=kept,
        text_bytes_per_token=text,
        bytes_per_token=_token_bytes(data, vocab, defaults),
        core_hours_per_byte=_core_hours(data, cores, defaults),
        classifier=_classifier(data.classifier, defaults),
        ablation_device_hours=_ablations(data, cores, defaults),
        synthetic=synthetic,
        pieces=tuple(pieces),
        storage=storage,
        engineers=data.engineers or 0.0,
        duration_s=duration,
        hours_per_year=hours,
        prices=prices,
        core_w=defaults.quantity("core.power_w") if cores else 0.0,
    ), shown


def _people(data: Data, prices: dict[str, Num], defaults: Defaults) -> Quantity:
    """Hours that a person works in a year, and the price of one, where anybody is counted."""
    if not data.engineers:
        defaults.notes.assume("data.engineers", 0.0, "nobody's time on the data is counted; give the number of people")
        return exact(0.0, "h", "hours a person works in a year")
    prices |= engineer_price(data.usd_per_engineer_year, "data.usd_per_engineer_year", defaults)
    return defaults.quantity("people.hours_per_year")


def _gathering(data: Data, cleans: bool, prices: dict[str, Num], defaults: Defaults) -> None:
    prices["transfer_bytes@crawl"] = given((data.crawl_usd_per_tb or 0.0) / 1e12, "USD/byte", "price of gathering")
    if cleans and data.crawl_usd_per_tb is None:
        defaults.notes.assume(
            "data.crawl_usd_per_tb",
            0.0,
            "Common Crawl is free to read where it lies; a crawl of one's own is not",
            "commoncrawl.org/overview",
        )


# ---------------------------------------------------------------- tokens


def _tokens(
    data: Data, trained: float | None, written: float, defaults: Defaults
) -> tuple[float, tuple[Source, ...], float]:
    """Tokens wanted, the known corpora that give them, and those still to be cleaned from the web."""
    named = [Corpus(name=c) if isinstance(c, str) else c for c in data.datasets or []]
    entries = [(defaults.catalog.find("dataset", c.name, f"data.datasets[{i}]"), c) for i, c in enumerate(named)]
    wanted = data.tokens or trained
    if data.tokens is None and trained is not None:
        defaults.notes.assume("data.tokens", trained, "as many as the pre-training reads; with several epochs fewer do")
    if wanted is None and not entries and data.synthetic is None:
        if data.annotation is None and not data.licences:
            raise BadValue("data.tokens: say how many tokens are wanted, or name datasets", "data.tokens")
        return 0.0, (), 0.0
    left = float("inf") if wanted is None else max(0.0, wanted - written)
    sources = []
    for index, (entry, corpus) in enumerate(entries):
        whole = entry.value("tokens")
        if whole is None and corpus.tokens is None:
            raise BadValue(
                f"data.datasets[{index}]: the catalogue knows no token count of {entry.id}; write "
                f"{{name: {entry.id}, tokens: …}}",
                "data.datasets",
            )
        if corpus.tokens is not None and whole is not None and corpus.tokens > whole:
            raise Inconsistent(
                f"data.datasets[{index}].tokens: {entry.id} has {whole:g} tokens, not {corpus.tokens:g}",
                "data.datasets",
            )
        used = corpus.tokens if corpus.tokens is not None else min(whole, left)
        left -= used
        sources.append(Source(entry.id, used, _corpus_bytes(entry, used, defaults), str(entry.value("licence", ""))))
        if entry.value("licence"):
            defaults.notes.assume(
                f"licence of {entry.id}",
                str(entry.value("licence")),
                "as its card says; read it before use",
                entry.fact("licence").source,
            )
    if wanted is None:
        return sum(s.tokens for s in sources) + written, tuple(sources), 0.0
    if left < -1e-6 * wanted:
        raise Inconsistent(f"data.datasets: they hold {-left:g} tokens more than data.tokens asks for", "data.datasets")
    cleaned = left if left > 1e-6 * wanted else 0.0
    if cleaned and entries:
        defaults.notes.assume("tokens cleaned from Common Crawl", cleaned, "what the named sources do not give")
    return wanted, tuple(sources), cleaned


def _corpus_bytes(entry: Any, tokens: float, defaults: Defaults) -> Quantity:
    """Bytes of the part used, from the corpus's own size where its card tells it."""
    if "bytes_per_token" in entry:
        each = entry.fact("bytes_per_token").quantity(defaults.seed)
    else:
        each = defaults.quantity("data.text_bytes_per_token", f"bytes per token of {entry.id}")
    size: Quantity = derive(_times, f"{entry.id} at rest", "bytes", amount=exact(tokens, "tokens", "tokens"), each=each)
    return size


def _times(amount: Any, each: Any) -> Any:
    """An amount of things of one size."""
    return amount * each


def _yields(data: Data, cleaned: float, defaults: Defaults) -> tuple[dict[str, Quantity], Quantity]:
    own = data.yields or Yields()
    stages = ["deduplicated", "filtered"]
    if data.classifier is not None or own.classified is not None:
        stages.append("classified")
    found = {}
    for stage in stages:
        told = f"data.yields.{stage}" if cleaned else ""
        found[stage] = or_default(
            getattr(own, stage), "", f"share kept, {stage}", f"data.yield_{stage}", told, defaults
        )
    told = "data.yields.raw_bytes_per_token" if cleaned else ""
    return found, or_default(
        own.raw_bytes_per_token, "bytes", "raw bytes per extracted token", "data.raw_bytes_per_token", told, defaults
    )


def _token_bytes(data: Data, vocab: int | None, defaults: Defaults) -> Quantity:
    if data.bytes_per_token is not None or vocab is None:
        return or_default(
            data.bytes_per_token, "bytes", "bytes per token", "data.bytes_per_token", "data.bytes_per_token", defaults
        )
    each = 2.0 if vocab <= SMALL_VOCABULARY else 4.0
    defaults.notes.assume("data.bytes_per_token", each, f"token ids of a vocabulary of {vocab:,}")
    return exact(each, "bytes", "bytes per token", "counted from the vocabulary", basis="derived")


# ---------------------------------------------------------------- work


def _cores(data: Data, defaults: Defaults) -> dict[str, Num]:
    hourly = or_default(
        data.usd_per_core_hour, "USD/h", "price of a core-hour", "core.usd_per_hour", "data.usd_per_core_hour", defaults
    )
    return {"core_s": derive(_hourly, "price of a core-second", "USD/s", per_hour=hourly)}


def _hourly(per_hour: Any) -> Any:
    """A price per hour as one per second."""
    return per_hour / 3600.0


def _core_hours(data: Data, cores: bool, defaults: Defaults) -> Quantity:
    given_tb = None if data.core_hours_per_tb is None else data.core_hours_per_tb / 1e12
    return or_default(
        given_tb,
        "h/byte",
        "core-hours per raw byte",
        "data.core_hours_per_raw_byte",
        "core-hours per raw byte" if cores else "",
        defaults,
    )


def _classifier(own: Classifier | None, defaults: Defaults) -> dict[str, Quantity]:
    if own is None:
        return {}
    if own.device_hours is not None:
        return {"device_hours": given(own.device_hours, "h", "device-hours of the classifier")}
    return {
        "parameters": or_default(
            own.parameters,
            "parameters",
            "classifier parameters",
            "data.classifier_parameters",
            "data.classifier.parameters",
            defaults,
        ),
        "utilization": or_default(
            own.utilization,
            "",
            "classifier utilisation",
            "data.classifier_utilization",
            "data.classifier.utilization",
            defaults,
        ),
    }


def _ablations(data: Data, cleans: bool, defaults: Defaults) -> float:
    if data.ablation_device_hours is None and cleans:
        defaults.notes.assume(
            "data.ablation_device_hours",
            0.0,
            "no runs to choose filters are counted; FineWeb's took 80,000 to 120,000 H100-hours",
            "dev.to/maximsaplin, 2024",
        )
    return data.ablation_device_hours or 0.0


def _synthetic(own: Synthetic | None, prices: dict[str, Num], defaults: Defaults) -> tuple[dict[str, Any], float]:
    """What is written by models, and how many tokens of it are kept."""
    if own is None:
        return {}, 0.0
    if own.usd_per_million_tokens is not None and own.tokens_per_s_per_device is not None:
        raise Inconsistent(
            "data.synthetic: usd_per_million_tokens and tokens_per_s_per_device at once; text is bought or generated",
            "data.synthetic",
        )
    keep = or_default(
        own.keep, "", "share of written tokens kept", "data.synthetic_keep", "data.synthetic.keep", defaults
    )
    read = or_default(
        own.input_per_output,
        "",
        "prompt tokens per token written",
        "data.synthetic_input_per_output",
        "data.synthetic.input_per_output",
        defaults,
    )
    found: dict[str, Any] = {
        "tokens": own.tokens,
        "keep": keep,
        "input_per_output": read,
        "tokens_per_s_per_device": own.tokens_per_s_per_device,
    }
    if own.usd_per_million_tokens is not None:
        price = given(own.usd_per_million_tokens / 1e6, "USD/token", "price of a token written")
        prices |= {
            "tokens_out@synthetic": price,
            "tokens_in@synthetic": exact(0.0, "USD/token", "prompt tokens", "in the price of those written"),
        }
        found["bought"] = True
    return found, own.tokens * keep.value
