"""Options of loaders: how batches are made and moved, none of which can change one."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs

from .._batches.draws import Draws
from .._batches.transfer import has_streams
from .._plans.branch import Branch
from .threads import Inline, Threads
from .workers import Workers


Maker: TypeAlias = Inline | Threads | Workers


@attrs.frozen
class LoaderOptions:
    """The settings of an executor that decide how fast batches come."""

    workers: int = 0
    threads: int = 0
    prefetch: int = 2
    pin_memory: bool | None = None
    start_method: str | None = None

    def maker(self, branches: Callable[[], Mapping[str, Branch]], device: str, draws: Draws) -> Maker:
        """Who makes the batches; one of those that are ahead may be on its way to the device."""
        if self.workers:
            return Workers(self.workers, self.threads, self.prefetch, self.start_method, branches, draws)
        if self.threads:
            ahead = max(self.prefetch, self.threads - 1)
            return Threads(self.threads, max(1, ahead - has_streams(device)), draws)
        return Inline(draws)

    def pins(self, device: str) -> bool:
        """Whether batches are put into pinned memory on their way to a device: by default, where that can be."""
        return has_streams(device) and self.pin_memory is not False

    @property
    def is_ahead(self) -> bool:
        """Whether batches are made while others are used."""
        return bool(self.workers or self.threads)
