"""Schedulers that lose the queue that a submission asks for."""

# ruff: noqa: D102 -- the class says what its methods do otherwise

from collections.abc import Sequence

from intercede.contract import Batch
from intercede.testing.gallery.schedulers.right import PlainQueue


class SubmitsToTheDefaultQueue(PlainQueue):
    """Submits to the default queue, whatever is asked for."""

    caught_by = "IC-SCHEDULER-12"
    message_contains = "(copies: 1); observed the same fragment for queue 'long' as for none"

    def options(self, batch: Batch) -> Sequence[str]:
        return [f"--cpus={batch.resources.cpus}"]


class DropsTheQueueOfManyCopies(PlainQueue):
    """Several copies are submitted by another command, which lacks the queue."""

    caught_by = "IC-SCHEDULER-12"
    message_contains = "(copies: 3); observed the same fragment for queue 'long' as for none"

    def options(self, batch: Batch) -> Sequence[str]:
        return super().options(batch) if batch.copies == 1 else [f"--cpus={batch.resources.cpus}"]


class MapsEachQueueToOne(PlainQueue):
    """Every queue is replaced by the site's own."""

    caught_by = "IC-SCHEDULER-12"
    message_contains = "observed the same fragment for the queues 'long' and 'short'"

    def options(self, batch: Batch) -> Sequence[str]:
        options = [option for option in super().options(batch) if not option.startswith("--queue=")]
        return [*options, "--queue=batch"] if batch.resources.queue else options
