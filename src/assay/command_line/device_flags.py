"""Flags of commands that run a model on several devices."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from assay.command_line.flags import make_help
from assay.command_line.parse import refuse_unused
from assay.defaults import DEVICE_TIMEOUT_S
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.workflows.devices.compute_shards import SeveralDevices


@dataclass(frozen=True, kw_only=True)
class DeviceFlags:
    """Which of several devices."""

    devices: Annotated[
        str | None,
        make_help(
            "Run on several devices of this machine, a process for each: 0,1,2,3, cuda:0-7 or all; the "
            "model's own if not given."
        ),
    ] = None
    device_timeout: Annotated[
        float,
        make_help(
            "With --devices: seconds to load the model, or for a batch; a device that takes longer failed."
        ),
    ] = DEVICE_TIMEOUT_S

    def get_devices(self) -> str:
        """The devices; empty for the model's own.

        Raises:
            UsageError: None is named, or --device-timeout without --devices.
        """
        if self.devices is None:
            refuse_unused(self, ["device_timeout"], "without --devices")
            return ""
        if not self.devices.strip():
            raise UsageError("--devices names none: expected numbers such as 0,1,2,3, or all")
        return self.devices

    def to_several_devices(self, compiled_dir: Path) -> "SeveralDevices | None":
        """The devices that compute the shards, or None where this process does, by the compiled model's own.

        Raises:
            AssayError: As `get_devices` and `choose_devices`.
        """
        text = self.get_devices()
        if not text:
            return None
        from assay.workflows.devices.choose import choose_devices
        from assay.workflows.devices.compute_shards import SeveralDevices

        return SeveralDevices(group=choose_devices(text, compiled_dir, self.device_timeout))
