"""Schedulers that lose the queue of a submission. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

from collections.abc import Sequence

from intercede.contract import Batch
from intercede.testing.gallery.schedulers.right import PlainQueue


class SubmitsToTheDefaultQueue(PlainQueue):
    """Ignores the queue of a submission."""

    caught_by = "IC-SCHEDULER-12"
    message_contains = "(copies: 1); observed the same fragment for queue 'long' as for none"

    def make_options(self, batch: Batch) -> Sequence[str]:
        return [f"--cpus={batch.resources.cpus}"]


class DropsTheQueueOfManyCopies(PlainQueue):
    """Ignores the queue of a submission with several copies."""

    caught_by = "IC-SCHEDULER-12"
    message_contains = "(copies: 3); observed the same fragment for queue 'long' as for none"

    def make_options(self, batch: Batch) -> Sequence[str]:
        return super().make_options(batch) if batch.copies == 1 else [f"--cpus={batch.resources.cpus}"]


class MapsEachQueueToOne(PlainQueue):
    """Replaces every queue by one and the same."""

    caught_by = "IC-SCHEDULER-12"
    message_contains = "observed the same fragment for the queues 'long' and 'short'"

    def make_options(self, batch: Batch) -> Sequence[str]:
        options = [option for option in super().make_options(batch) if not option.startswith("--queue=")]
        return [*options, "--queue=batch"] if batch.resources.queue else options
