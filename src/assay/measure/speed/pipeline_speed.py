"""The `pipeline` clock: encoded images in, predictions on disk out. What a user waits for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

SHORT_S = 3.0


class PipelineSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """How long so many images took from their bytes to their predictions, the loading of the model left out.

    Reading, decoding, resizing, inference, ranking and writing go on at once. `whole_count` is how many
    images the run has: fewer were timed where it was resumed, was stopped, or a share of it was computed.
    """

    image_count: int
    whole_count: int
    seconds: Annotated[float, Meta(gt=0)]
    batch_size: int

    @property
    def images_per_second(self) -> float:
        """Images per second on the `pipeline` clock."""
        return self.image_count / self.seconds

    def list_remarks(self) -> Iterator[str]:
        """Why the figure says less than that of a whole run; nothing where it is one."""
        if self.image_count < self.whole_count:
            yield f"not all of {self.whole_count:,}"
        if self.seconds < SHORT_S:
            yield "short"
