"""What sessions that stand in for a runtime in tests have in common."""

from __future__ import annotations

from assay.engines.engine import SessionDescription


class SessionDouble:
    """Stands in for a session on no device, which tells no times."""

    concurrency = 1
    description = SessionDescription(runtime="double", device_name="none")

    def take_device_ms(self) -> tuple[float, ...]:
        return ()

    def close(self) -> None:
        pass
