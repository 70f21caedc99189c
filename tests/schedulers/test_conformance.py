"""The built-in schedulers keep the contract."""

import pytest
from tests.built_in import ENTRY_POINTS

from intercede.testing import Verdict, check_scheduler


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.parametrize("name", sorted(ENTRY_POINTS))
async def test_a_built_in_scheduler_is_conformant(name: str) -> None:
    """A built-in scheduler keeps every clause about schedulers."""
    report = await check_scheduler(name)

    assert report.verdict is Verdict.CONFORMANT, report.line
