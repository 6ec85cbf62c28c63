"""What sessions that stand in for a runtime in tests have in common."""

from __future__ import annotations

from assay.arrays import Batch, Logits
from assay.engines.engine import Session, SessionDescription


class SessionDouble:
    """Stands in for a session on no device, which tells no times."""

    concurrency = 1
    description = SessionDescription(runtime="double", device_name="none")

    def take_device_ms(self) -> tuple[float, ...]:
        return ()

    def close(self) -> None:
        pass


class WrongAtBatch(SessionDouble):
    """A session that answers class 0 to the first image of every call of so many images or more."""

    def __init__(self, session: Session, batch_size: int) -> None:
        self._session = session
        self._batch_size = batch_size
        self.concurrency = session.concurrency
        self.description = session.description

    def run(self, images: Batch) -> Logits:
        logits = self._session.run(images)
        if len(images) >= self._batch_size:
            logits[0] = 0
            logits[0, 0] = 1
        return logits

    def close(self) -> None:
        self._session.close()
