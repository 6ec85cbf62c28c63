"""The checks on options that engines share: what an engine declares is honoured, the rest is refused."""

from __future__ import annotations

from assay.engines.engine import CompileChoice, CompileOptions, Engine
from assay.errors import UsageError, quote
from assay.models.record import ModelRecord
from assay.processors import count_processors


def check_options(engine: Engine, choice: CompileChoice, record: ModelRecord) -> CompileOptions:
    """The options with precision and device filled in, after checking that the engine declares them.

    Raises:
        UsageError: A precision, device, batch size or setting that the engine does not declare.
    """
    precision = choice.precision or engine.precisions[0]
    if precision not in engine.precisions:
        raise UsageError(
            f"engine {engine.name} does not compute in {quote(precision)}",
            hint=f"--precision can be: {', '.join(engine.precisions)}",
        )
    devices = {name.casefold(): name for name in engine.devices}
    device = devices.get((choice.device or engine.devices[0]).casefold())
    if device is None:
        raise UsageError(
            f"engine {engine.name} does not run on {quote(choice.device)}",
            hint=f"--device can be: {', '.join(engine.devices)}",
        )
    if choice.batch_size is not None and choice.batch_size < 1:
        raise UsageError(f"--batch-size is {choice.batch_size}; expected 1 or more")
    unknown = sorted(set(choice.settings) - set(engine.settings))
    if unknown:
        raise UsageError(
            f"engine {engine.name} has no setting {quote(unknown[0])}",
            hint=f"it has: {', '.join(engine.settings) or 'none'}; see `assay engines`",
        )
    return CompileOptions(
        engine=engine.name,
        record=record,
        precision=precision,
        device=device,
        batch_size=choice.batch_size,
        settings=choice.settings,
    )


def choose_setting(options: CompileOptions, name: str, choices: tuple[str, ...]) -> str:
    """Return the setting of that name, one of `choices`; the first where it was not given.

    Raises:
        UsageError: It is none of them.
    """
    value = options.settings.get(name, choices[0])
    if value not in choices:
        raise UsageError(f"{name}={value}: expected one of {', '.join(choices)}")
    return value


def choose_thread_count(options: CompileOptions) -> int:
    """Return the setting `threads`; where it was not given, the processors this process may use.

    Raises:
        UsageError: Not a whole number from 1.
    """
    return choose_count(options, "threads") or count_processors()


def choose_count(options: CompileOptions, name: str) -> int | None:
    """Return the setting of that name, a whole number from 1; None where it was not given.

    Raises:
        UsageError: It is anything else.
    """
    text = options.settings.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text)):
        raise UsageError(f"{name}={text}: expected a whole number from 1")
    return int(text)
