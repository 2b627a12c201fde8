"""A fine-tuning phase with every input known: what is trained, in what precision, on rows of what length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.derive import exact
from outlay.errors import BadValue, Inconsistent, Unsupported, suggestion
from outlay.physics.weights import FORMATS
from outlay.resolve.calendar import Defaults
from outlay.resolve.finetune.data import EpochTokens, Lengths, epoch_tokens, file_lengths, lengths_of, rollout_lengths
from outlay.resolve.finetune.procedure import (
    WITH_ROLLOUT,
    Procedures,
    companion_bytes,
    examples_a_step,
    extra_logit_bytes,
)
from outlay.resolve.finetune.states import StateBytes, number, software_rows
from outlay.resolve.finetune.trained import (
    ADAPTER_START,
    ALL,
    LOW_RANK,
    MEGATRON_FUSED,
    METHODS,
    Counts,
    count,
    fused_products,
    saved_modules,
    targets,
)
from outlay.resolve.finetune.training import Context, training_phase, tuned_hardware
from outlay.resolve.fleet import DeviceFacts
from outlay.resolve.memory import memory_constants
from outlay.resolve.notes import Notes
from outlay.resolve.record import TrainingPhase
from outlay.scenario import Finetune, Fleet, Layout
from outlay.scenario_io import to_plain
from outlay.steps.inputs import Hardware, Recipe
from outlay.steps.tune.trained import Procedure, Software, Tuning

FOUR_BIT_DEFAULT = {"qlora": "nf4-dq", "qdora": "nf4-dq"}
WIDE = ("bf16", "fp16", "fp32")
STANDS_ON = dict.fromkeys(("trl", "peft", "accelerate", "axolotl", "llama-factory", "unsloth"), "transformers")
EIGHT_BIT_SOFTWARE = ("megatron", "nemo", "megatron-bridge")
MODEL_AXES = ("tensor", "pipeline", "context", "expert", "expert_tensor")
VIRTUAL = ("prefix", "prompt", "adapter", "adapter-v2")


class TunePhase(Struct, frozen=True):
    """A fine-tuning phase ready to plan. `training` holds the memory's recipe: rows of the longest length."""

    training: TrainingPhase
    hardware: Hardware
    time_recipe: Recipe
    given: Finetune
    counts: Counts
    lengths: Lengths
    checkpointing: bool | None  # None: searched
    epochs: float
    epoch: EpochTokens | None  # None: nothing says how much data there is
    saved_bytes_per_parameter: float  # of a saved model
    adapter_element_bytes: float
    procedure: Procedure
    devices: int  # of the whole fleet, those that write included
    zero_choices: tuple[int, ...]  # stages its software uses where none is given; none: any
    vary: Callable[[Mapping[str, Any]], TunePhase]  # the same phase with fields of it changed


def resolve_finetune(given: Finetune, architecture: Architecture | None, fleet: Fleet | None,
                     facts: DeviceFacts | None, hardware: Hardware | None,
                     defaults: Defaults) -> tuple[TunePhase, dict[str, Any]]:
    """The phase, and its fields as the resolved scenario shows them; raises OutlayError naming the field."""
    if architecture is None:
        raise BadValue("model: needed to plan fine-tuning", "model")
    if hardware is None or fleet is None or facts is None:
        raise BadValue("fleet: needed to plan fine-tuning; for example 1xrtx-4090", "fleet")
    return _Resolver(given, Context(architecture, fleet, facts, hardware, defaults)).phase()


class _Resolver:
    """One phase being resolved: fields chosen in the order they depend on each other."""

    def __init__(self, given: Finetune, context: Context) -> None:
        self.given, self.at, self.context = given, context, context
        self.catalog, self.notes = context.defaults.catalog, context.defaults.notes
        self.shown: dict[str, Any] = {}
        named = str(self.choose("framework", "transformers", "the most used for fine-tuning"))
        self.framework = STANDS_ON.get(named, named)
        self.rows = software_rows((self.framework, named), self.catalog)
        if named != self.framework:
            self.notes.assume("finetune.framework", self.framework, f"{named} trains by it")
        if context.facts.local_only:
            self.notes.warn(f"finetune.framework: what is known of {named} was measured on other makers' GPUs; "
                            f"planned as if {context.facts.id} ran it the same way")
        self.seed = context.defaults.seed
        self.devices = context.hardware.devices
        self.read = file_lengths(given, given.algorithm in WITH_ROLLOUT, self.notes)
        self.implied_data = 0  # data-parallel ranks that a global batch and its accumulation leave

    def choose(self, name: str, default: Any, why: str) -> Any:
        value = getattr(self.given, name)
        if value is None:
            self.notes.assume(f"finetune.{name}", default, why)
            value = default
        self.shown[name] = value
        return value

    def row(self, name: str, default: Any = 0.0) -> Any:
        fact = self.rows.get(name)
        return default if fact is None else fact.value

    def fact(self, name: str) -> Any:
        """A number where it is certain, else a quantity with its interval."""
        fact = self.rows[name]
        return fact.quantity(self.seed) if fact.low is not None else float(fact.value)

    def phase(self) -> tuple[TunePhase, dict[str, Any]]:
        method = self.method()
        precision = str(self.choose("precision", "bf16", "the common training precision"))
        if precision not in WIDE and self.framework not in EIGHT_BIT_SOFTWARE:
            raise Unsupported(f"finetune.precision: {self.framework} does not fine-tune in {precision}; "
                              f"{', '.join(WIDE)} work, or framework nemo", "finetune.precision")
        tuning, counts = self.tuning(method, precision)
        epochs = float(self.choose("epochs", 1.0, "one pass over the data"))
        procedure = self.procedure(counts.adapters > 0, epochs)
        self.split_fleet(procedure)
        lengths, batch, micro_batch = self.data(method, procedure)
        tuning = replace(tuning, extra_logit_bytes=extra_logit_bytes(procedure, self.at.architecture))
        recipe = self.recipe(tuning, counts, procedure, precision, lengths, batch)
        hardware = tuned_hardware(self.at, precision)
        training = training_phase(self.at, recipe, self.layout(micro_batch), self.framework)
        time_recipe = replace(recipe, sequence_length=max(round(lengths.mean), 1))
        self.shown["layout"] = to_plain(self.given.layout) if self.given.layout is not None else {}
        epoch = epoch_tokens(self.given, lengths, procedure, self.notes)
        if epoch is not None:
            stored = epoch.stored + epoch.replayed * epochs  # what is replayed is drawn anew in each epoch
            training = replace(training, tokens=epoch.trained * epochs, stored_tokens=stored)
        checkpointing = self.given.gradient_checkpointing
        if checkpointing is not None:
            self.shown["gradient_checkpointing"] = checkpointing
        element = number(tuning.software.adapter_weight_bytes)
        return TunePhase(training, hardware, time_recipe, self.given, counts, lengths, checkpointing, epochs,
                         epoch, 4.0 if precision == "fp32" else 2.0, element, procedure, self.devices,
                         self.zero_choices(), self.vary), self.shown

    def vary(self, changed: Mapping[str, Any]) -> TunePhase:
        """The phase with fields changed, resolved without a word."""
        quiet = Defaults(self.catalog, Notes(), self.seed)
        given = replace(self.given, **changed)
        return _Resolver(given, replace(self.context, defaults=quiet)).phase()[0]

    def method(self) -> str:
        method = str(self.choose("method", "lora", "the common choice where memory is short")).lower().replace("_", "-")
        method = {"q-lora": "qlora", "adapterv2": "adapter-v2", "prefix-tuning": "prefix", "p-tuning": "prompt",
                  "prompt-tuning": "prompt"}.get(method, method)
        if method not in METHODS:
            raise BadValue(f"finetune.method: {method!r} is not one of {', '.join(METHODS)}"
                           f"{suggestion(method, METHODS)}", "finetune.method")
        self.shown["method"] = method
        for name, wanted in (("rank", LOW_RANK), ("target_modules", LOW_RANK),
                             ("virtual_tokens", VIRTUAL), ("frozen_layers", ("full", "freeze"))):
            if getattr(self.given, name) is not None and method not in wanted:
                raise BadValue(f"finetune.{name}: has no meaning with method {method}; it belongs to "
                               f"{', '.join(wanted)}", f"finetune.{name}")
        return method

    def base_precision(self, method: str, precision: str) -> str:
        double = self.row("nf4_double", 1.0)
        frozen = method not in ("full", "freeze")
        default = ("nf4-dq" if double else "nf4") if method in FOUR_BIT_DEFAULT else \
            precision if precision in WIDE or frozen else "bf16"
        base = str(self.choose("base_precision", default, "of this method and software"))
        if base not in FORMATS:
            raise BadValue(f"finetune.base_precision: {base!r} is not one of {', '.join(FORMATS)}"
                           f"{suggestion(base, FORMATS)}", "finetune.base_precision")
        if method in ("full", "freeze") and base not in WIDE:
            raise Inconsistent(f"finetune.base_precision: {base} weights cannot be trained whole; use method qlora",
                               "finetune.base_precision")
        if method in FOUR_BIT_DEFAULT and base in WIDE:
            raise Inconsistent(f"finetune.base_precision: {method} quantises the base; with {base} use method "
                               f"{method[1:]}", "finetune.base_precision")
        return base

    def tuning(self, method: str, precision: str) -> tuple[Tuning, Counts]:
        base = self.base_precision(method, precision)
        adapted: frozenset[str] = frozenset()
        fused: tuple[tuple[str, ...], ...] = ()
        rank = 0.0
        if method in LOW_RANK:
            rank = float(self.choose("rank", int(self.row("default_rank", 16)), f"default of {self.framework}"))
            names = self.choose("target_modules", str(self.row("default_targets", "all")).split(","),
                                f"default of {self.framework}")
            adapted = targets(list(names))
            fused = MEGATRON_FUSED if self.framework in EIGHT_BIT_SOFTWARE else fused_products(list(names))
        saved = saved_modules(self.given.modules_to_save or [])
        if self.given.modules_to_save is not None:
            self.shown["modules_to_save"] = self.given.modules_to_save
        virtual = 0
        if method in VIRTUAL:
            virtual = int(self.choose("virtual_tokens", 20 if method in ("prefix", "prompt") else 10, "a common size"))
        frozen = self.frozen_layers(method)
        software = Software(**{name: self.fact(name) for name in Software.__struct_fields__ if name in self.rows})
        quantised = base not in WIDE
        counts = count(self.at.architecture, method=method, rank=rank, adapted=adapted, fused=fused, saved=saved,
                       frozen_layers=frozen, virtual_tokens=virtual, quantised=quantised,
                       quantised_head=bool(self.row("quantised_head")))
        whole = method in ("full", "freeze")
        stored = FORMATS[base].bits / 8.0
        total = counts.total
        return Tuning(
            method="dora" if method == "qdora" else method, software=software, rank=rank, adapted=adapted, fused=fused,
            trained=ALL if whole else frozenset(), norms_trained=whole or "norms" in saved or method == "adapter-v2",
            head_trained=whole or "head" in saved, embedding_trained=(whole and not frozen) or "embedding" in saved,
            live_share=1.0 - (ADAPTER_START if method == "adapter" else frozen) / max(self.at.architecture.layers, 1),
            trained_share=counts.layers_trained / counts.matrices if counts.matrices else 0.0,
            trainable_parameters=counts.whole + counts.adapters, adapter_parameters=counts.adapters,
            stored_bytes=stored, quantised=quantised, made_whole=quantised and base != precision,
            weight_copies=1.0 if quantised and base == precision else None if precision not in WIDE else 0.0,
            wire_bytes=stored if quantised else 4.0 if precision == "fp32" else 2.0,
            reduce_share=(counts.whole + counts.adapters) / total,
            optimizer_in_backward=self.in_backward(method),
            offload_activations=self.flag("activation_offload")), counts

    def alone(self, method: str) -> bool:
        """Whether one device trains every parameter: recipes save memory there."""
        return method == "full" and self.devices == 1

    def in_backward(self, method: str) -> bool:
        """The optimiser can work inside the backward pass where gradients are not gathered over micro-batches."""
        if self.given.optimizer_in_backward is None and self.alone(method) and self.row("single_full_in_backward") \
                and (self.given.gradient_accumulation or 1) == 1 and self.given.optimizer is None:
            self.notes.assume("finetune.optimizer_in_backward", True, f"default of {self.framework} on one device")
            self.shown["optimizer_in_backward"] = True
            return True
        return self.flag("optimizer_in_backward")

    def flag(self, name: str) -> bool:
        value = getattr(self.given, name)
        if value is not None:
            self.shown[name] = value
        return bool(value)

    def frozen_layers(self, method: str) -> int:
        if method == "freeze" and self.given.frozen_layers is None:
            raise BadValue("finetune.frozen_layers: method freeze needs how many layers, from the first",
                           "finetune.frozen_layers")
        frozen = self.given.frozen_layers or 0
        if frozen:
            self.shown["frozen_layers"] = frozen
        if frozen > self.at.architecture.layers:
            raise BadValue(f"finetune.frozen_layers: {frozen} is more than the {self.at.architecture.layers} layers",
                           "finetune.frozen_layers")
        return frozen

    def procedure(self, adapters: bool, epochs: float) -> Procedure:
        reader = Procedures(self.given, self.at.architecture, self.catalog, self.notes, self.rows, self.seed,
                            self.shown, self.read)
        examples = float(examples_a_step(self.given, self.devices))
        return reader.procedure(adapters, epochs, self.sequence(), self.devices, examples)

    def split_fleet(self, procedure: Procedure) -> None:
        """Devices that write responses do not train."""
        rollout = procedure.rollout
        if rollout is not None and not rollout.colocate:
            self.at = replace(self.at, hardware=replace(self.at.hardware, devices=self.devices - rollout.devices))

    def sequence(self) -> int:
        limit = self.at.architecture.max_positions or 4096
        if "sequence_length" in self.shown:
            return int(self.shown["sequence_length"])
        return int(self.choose("sequence_length", min(limit, 2048), "a common length of fine-tuning rows"))

    def data(self, method: str, procedure: Procedure) -> tuple[Lengths, int, int]:
        """Lengths of rows, sequences a step, sequences a device holds at once."""
        given, arch = self.given, self.at.architecture
        sequence = self.sequence()
        if arch.positions == "learned" and arch.max_positions and sequence > arch.max_positions:
            raise BadValue(f"finetune.sequence_length: {sequence} is more than the {arch.max_positions} learned "
                           "positions of this model", "finetune.sequence_length")
        packing = bool(self.choose("packing", False, "one example a row"))
        micro_batch = self.micro_batch()
        if procedure.rollout is not None:
            lengths = rollout_lengths(given, procedure.rollout, self.read, sequence, packing, micro_batch)
        else:
            lengths = lengths_of(given, self.read, sequence, packing, micro_batch, self.notes)
        for name in ("longest", "mean", "data_file", "examples", "tokens", "replay_share"):
            if getattr(given, name) is not None:
                self.shown[name] = getattr(given, name)
        virtual = int(self.shown.get("virtual_tokens", 0)) if method == "prompt" else 0
        if virtual:
            lengths = replace(lengths, longest=lengths.longest + virtual, mean=lengths.mean + virtual)
        batch = self.global_batch(micro_batch, procedure)
        if procedure.rows > 1:
            self.notes.assume("finetune.layout.micro_batch", micro_batch * procedure.rows,
                              f"{procedure.rows} sequences an example run together")
        return lengths, batch * procedure.rows, micro_batch * procedure.rows

    def micro_batch(self) -> int:
        own = self.given.layout.micro_batch if self.given.layout is not None else None
        if own is not None and self.given.micro_batch not in (None, own):
            raise Inconsistent(f"finetune.micro_batch: {self.given.micro_batch} contradicts layout.micro_batch {own}",
                               "finetune.micro_batch")
        if own is not None:
            return own
        return int(self.choose("micro_batch", 1, "the smallest a device can hold"))

    def global_batch(self, micro_batch: int, procedure: Procedure) -> int:
        """Sequences of a step, before pairs: examples times the responses to each."""
        given, devices = self.given, self.at.hardware.devices
        layout = given.layout or Layout()
        split = (layout.tensor or 1) * (layout.pipeline or 1) * (layout.context or 1)
        data = layout.data or max(devices // split, 1)
        if given.global_batch is not None and given.gradient_accumulation is not None and not layout.data:
            implied, rest = divmod(given.global_batch * procedure.samples, given.gradient_accumulation * micro_batch)
            if not rest and devices % (implied * split) == 0:
                self.implied_data = data = implied
        if given.global_batch is not None:
            if given.gradient_accumulation is not None and \
                    given.global_batch * procedure.samples != given.gradient_accumulation * micro_batch * data:
                raise Inconsistent(
                    f"finetune.gradient_accumulation: {given.gradient_accumulation} · micro_batch {micro_batch} · data "
                    f"{data} is not the global batch of {given.global_batch}", "finetune.gradient_accumulation")
            self.shown["global_batch"] = given.global_batch
            return int(given.global_batch) * procedure.samples
        steps = int(self.choose("gradient_accumulation", 1, "none unless asked for"))
        whole = steps * micro_batch * data
        return -(-whole // procedure.samples) * procedure.samples

    def recipe(self, tuning: Tuning, counts: Counts, procedure: Procedure, precision: str, lengths: Lengths,
               batch: int) -> Recipe:
        """Bytes a parameter are means over all parameters of the base."""
        usual = str(self.row("single_full_optimizer", "adamw")) if self.alone(tuning.method) else "adamw"
        optimizer = str(self.choose("optimizer", usual, f"default of {self.framework}" if usual != "adamw" else
                                    "the common optimiser"))
        offload = str(self.choose("offload", "none", "everything stays on the device"))
        fused = bool(self.choose("fused_cross_entropy", bool(self.row("default_fused")),
                                 f"default of {self.framework}"))
        compiled = bool(self.choose("compile", bool(self.row("default_compile")), "off unless asked for"))
        attention = str(self.choose("attention", "flash", "default of current frameworks"))
        if optimizer.startswith("paged") and offload == "none":
            offload = "optimizer"
            self.notes.assume("finetune.offload", "optimizer", "states of a paged optimiser live in memory shared with "
                              "the host")
        sizes = memory_constants(self.framework, self.at.facts.vendor, self.catalog, self.seed)
        if self.at.hardware.devices == 1:
            sizes["communication_bytes"] = exact(0.0, "bytes", "communicator buffers", "one device has none")
        states = StateBytes(self.catalog, precision).mean(tuning, counts, optimizer)
        states = companion_bytes(procedure, self.at.architecture, states, 4.0 if precision == "fp32" else 2.0)
        mean = min(lengths.document, float(lengths.longest))
        packing = bool(self.shown["packing"])
        return Recipe(
            sequence_length=lengths.longest, global_batch=batch, precision=precision, optimizer=optimizer,
            framework=self.framework, attention=attention, fused_cross_entropy=fused, compile=compiled,
            offload=offload, packing=packing and mean < lengths.longest,
            packed_lengths=(mean, max(lengths.mean_square, mean**2)) if packing else (0.0, 0.0),
            options={"memory_constants": sizes, "dropout": False}, tuning=tuning, **states)

    def zero_choices(self) -> tuple[int, ...]:
        """Megatron stacks fine-tune with the distributed optimiser or without, not with sharded weights."""
        given = self.given.layout
        if self.framework not in EIGHT_BIT_SOFTWARE or (given is not None and given.zero is not None):
            return ()
        return (1, 0)

    def layout(self, micro_batch: int) -> Layout:
        """The layout asked for, with what other fields and the software's habits say of it."""
        given = self.given.layout or Layout()
        changes: dict[str, Any] = {"micro_batch": micro_batch}
        checkpointing = self.given.gradient_checkpointing
        if given.recompute is None and checkpointing is not None:
            changes["recompute"] = "full" if checkpointing else "none"
        elif given.recompute is not None and checkpointing is not None and \
                (given.recompute == "none") == checkpointing:
            raise Inconsistent(f"finetune.gradient_checkpointing: {checkpointing} contradicts layout.recompute "
                               f"{given.recompute}", "finetune.gradient_checkpointing")
        if given.data is None and self.implied_data:
            changes["data"] = self.implied_data
        if given.data is None and not self.implied_data and not self.row("splits_model"):
            changes |= {axis: 1 for axis in MODEL_AXES if getattr(given, axis) is None}
            if given.shard is None and given.zero != 0:  # hybrid sharding is asked for
                split = (given.tensor or 1) * (given.pipeline or 1) * (given.context or 1)
                changes["shard"] = max(self.at.hardware.devices // split, 1)
        if given.zero is None and self.at.hardware.devices > 1 and self.row("shards"):
            changes["zero"] = 3
        if given.shard is None and changes.get("zero", given.zero) == 3:
            split = (given.tensor or 1) * (given.pipeline or 1) * (given.context or 1)
            changes["shard"] = given.data or max(self.at.hardware.devices // split, 1)
        return replace(given, **changes)
