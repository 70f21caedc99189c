"""What a scheduler's own tools see when they queue, and what payloads see of that."""

import asyncio
from pathlib import Path

import pytest

from intercede.batch import BatchBackend
from intercede.contract.job import SubmissionSpec
from intercede.contract.scheduler import Batch
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport

SECONDS = 30
SEEN = '\'%s|%s|%s\' "${CDPATH-unset}" "${LC_ALL-unset}" "${IC_LOCALE-unset}"'


class Exporting(DirectScheduler):
    """Hands its tool's environment on to payloads, as batch systems do, and writes down what the tool sees."""

    def submit_script(self, batch: Batch) -> str:
        """Start the runner by `ic_tool`."""
        script = super().submit_script(batch).replace("    setsid setsid sh", "    ic_tool setsid setsid sh")
        assert "ic_tool setsid" in script
        return f"ic_tool sh -c {_quoted(f'printf {SEEN} >tool')}\n{script}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@pytest.mark.asyncio
@pytest.mark.parametrize("locale", ["C.UTF-8", None])
async def test_a_scheduler_s_tool_is_run_plainly_and_payloads_do_not_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locale: str | None
) -> None:
    """Neither its options nor its language come from the environment, and that reaches no payload."""
    monkeypatch.setenv("CDPATH", "/nowhere")
    if locale is None:
        monkeypatch.delenv("LC_ALL", raising=False)
    else:
        monkeypatch.setenv("LC_ALL", locale)
    async with BatchBackend(LocalTransport(), Exporting(1), root=str(tmp_path / "root")) as backend:
        spec = SubmissionSpec(executable="sh", arguments=("-c", f"printf {SEEN}"))
        handle = (await backend.submit(spec)).handles[0]
        async with asyncio.timeout(SECONDS):
            while not (await backend.status([handle]))[handle].state.final:  # noqa: ASYNC110 -- no event tells it
                await asyncio.sleep(0.02)
        output = (await backend.fetch_output([handle], tmp_path / "dest"))[handle]
        assert output.stdout is not None
        assert output.stdout.read_text() == f"unset|{locale or 'unset'}|unset"
        seen = tmp_path / "root" / handle.job.partition(".")[0] / "tool"
        assert seen.read_text() == f"unset|C|{locale or ''}"


@pytest.mark.asyncio
async def test_variables_of_our_own_names_are_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user's environment has under a name that a script uses changes no answer, and no directory is removed."""
    precious = tmp_path / "precious"
    precious.mkdir()
    for name in ("open_only", "every_id", "scratch", "force", "indices", "is_final", "submission_id"):
        monkeypatch.setenv(name, str(precious))
    async with BatchBackend(LocalTransport(), DirectScheduler(1), root=str(tmp_path / "root")) as backend:
        handle = (await backend.submit(SubmissionSpec(executable="true", tag="t"))).handles[0]
        async with asyncio.timeout(SECONDS):
            while not (await backend.status([handle]))[handle].state.final:  # noqa: ASYNC110 -- no event tells it
                await asyncio.sleep(0.02)
        assert (await backend.kill([handle]))[handle].ok
        assert (await backend.fetch_output([handle], tmp_path / "dest"))[handle].ok
        assert await backend.find("t") == [handle]
        assert (await backend.purge([handle]))[handle].ok
    assert precious.is_dir()
