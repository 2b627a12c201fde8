"""What surrounds the phases on devices: data, maintenance and the years of use, added to a resolved scenario."""

from __future__ import annotations

from msgspec.structs import replace

from outlay.account_rates import Rates
from outlay.resolve.calendar import Defaults
from outlay.resolve.data.phase import resolve_data
from outlay.resolve.life import resolve_life
from outlay.resolve.maintain import resolve_maintain
from outlay.resolve.rates import bare_rates
from outlay.resolve.record import Resolved
from outlay.resolve.site import SiteInputs
from outlay.scenario import Scenario


def with_life(found: Resolved, scenario: Scenario, site: SiteInputs, defaults: Defaults) -> Resolved:
    """The scenario with its data, maintenance and life, and prices for them where no fleet brings any."""
    rates: Rates = found.rates if found.rates is not None else bare_rates(site, defaults)
    life = data = maintain = None
    if scenario.life is not None:
        life, found.scenario["life"] = resolve_life(scenario.life, defaults)
    if scenario.data is not None:
        trained = found.pretrain.tokens if found.pretrain is not None else None
        vocab = found.architecture.vocab if found.architecture is not None else None
        data, found.scenario["data"] = resolve_data(
            scenario.data, trained, vocab, site.provider, life.horizon_s if life is not None else None, defaults
        )
    if scenario.maintain is not None:
        maintain, found.scenario["maintain"] = resolve_maintain(
            scenario.maintain, _trained(found), life is not None, defaults
        )
    if life is not None:
        _tell_unused(found, maintain is not None)
    return replace(found, rates=rates, data=data, maintain=maintain, life=life)


def _tell_unused(found: Resolved, kept_up: bool) -> None:
    """Growth without traffic and a start of serving without serving change nothing, and the result says so."""
    shown = found.scenario["life"]
    if found.serve is None and shown.get("growth_per_year"):
        found.notes.warn("life.growth_per_year: not used, because the scenario has no serve phase to grow")
    if found.serve is None and shown.get("serve_devices") is not None:
        found.notes.warn("life.serve_devices: not used, because the scenario has no serve phase")
    if found.serve is None and not kept_up and shown.get("serve_from") is not None:
        found.notes.warn("life.serve_from: not used, because nothing is served or kept up")


def _trained(found: Resolved) -> dict[str, float | None]:
    """Tokens of the training phases there are."""
    tokens: dict[str, float | None] = {}
    if found.pretrain is not None:
        tokens["pretrain"] = found.pretrain.tokens
    if found.finetune is not None:
        tokens["finetune"] = found.finetune.training.tokens
    return tokens
