"""Checks that run at the same time log in a few at a time, and a refused login is tried again."""

import asyncio
import contextlib
from typing import Self

import pytest
from tests.testing.memory import check_entering
from tests.testing.queues import OneSlot, make_clauses

from intercede.contract import (
    TransportError,
)
from intercede.testing.frontends.check import run_checks
from intercede.testing.model.verdict import State
from intercede.testing.run.context import Context
from intercede.testing.subjects.entering import LoginThrottle


@pytest.fixture(autouse=True)
def _clear_logins() -> None:
    Crowded.inside = Crowded.entered = 0


class Crowded(OneSlot):
    """A right backend that drops logins if more than three come at once."""

    inside = entered = 0

    async def __aenter__(self) -> Self:
        """Log in within a moment, or raise if too many do."""
        cls = type(self)
        cls.inside += 1
        cls.entered += 1
        crowded = cls.inside > 3
        await asyncio.sleep(0.01)
        cls.inside -= 1
        if crowded:
            raise TransportError("kex_exchange_identification: Connection reset by peer")
        return self


def test_dropped_logins_are_tried_again() -> None:
    """Twenty checks pass although the subject drops logins that come at once."""
    report = run_checks(Crowded, clauses=make_clauses(*[check_entering] * 20), scale=0.05)

    assert [each.detail for each in report.results.values() if each.state is not State.PASSED] == []
    assert Crowded.entered > 20


class Closed(Crowded):
    """A backend that refuses each login."""

    retryable = True

    async def __aenter__(self) -> Self:
        """Refuse."""
        type(self).entered += 1
        raise TransportError("no route", retryable=self.retryable)


class Final(Closed):
    """A backend that refuses each login for good."""

    retryable = False


@pytest.mark.parametrize(("subject", "times"), [(Closed, 5), (Final, 1)])
def test_a_subject_that_refuses_each_login_is_red(subject: type[Closed], times: int) -> None:
    """A subject that refuses each login is red after five tries, or after one if the error is not retryable."""
    subject.entered = 0
    (result,) = run_checks(subject, clauses=make_clauses(check_entering), scale=0.02).results.values()

    assert result.state is State.FAILED
    assert "no route" in result.message
    assert subject.entered == times


async def _enter_twice(context: Context) -> None:
    with contextlib.suppress(TransportError):
        await check_entering(context)
    await check_entering(context)


def test_a_login_after_all_tries_failed_is_tried_once() -> None:
    """A check logs in only once if all tries before it failed."""
    Closed.entered = 0
    (result,) = run_checks(Closed, clauses=make_clauses(_enter_twice), scale=0.02).results.values()

    assert result.state is State.FAILED
    assert Closed.entered == 5 + 1


def test_logins_of_several_loops_all_succeed() -> None:
    """Checks on two event loops after each other can log in through one limit of logins."""
    throttle, inside, most = LoginThrottle(), 0, 0

    async def attempt() -> None:
        nonlocal inside, most
        if not refused:
            refused.append(True)
            raise TransportError("dropped", retryable=True)
        inside, most = inside + 1, max(most, inside + 1)
        await asyncio.sleep(0.01)
        inside -= 1

    async def enter_all() -> None:
        await asyncio.gather(*(throttle.enter(attempt, 0.01) for _ in range(20)))

    for _ in range(2):
        refused: list[bool] = []
        asyncio.run(enter_all())  # a loop of its own each: that is the point

    assert (inside, most < 20) == (0, True)
