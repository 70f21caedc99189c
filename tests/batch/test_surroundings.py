"""A scheduler's tools get a clean environment, and payloads get the user's."""

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
    """A scheduler whose tool passes its environment on to payloads, as batch systems do, and writes it down."""

    def submit_script(self, batch: Batch) -> str:
        """Return a fragment that starts the runner by `ic_tool`."""
        script = super().submit_script(batch).replace("    setsid setsid sh", "    ic_tool setsid setsid sh")
        assert "ic_tool setsid" in script
        return f"ic_tool sh -c {_quote(f'printf {SEEN} >tool')}\n{script}"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@pytest.mark.asyncio
@pytest.mark.parametrize("locale", ["C.UTF-8", None])
async def test_a_schedulers_tool_has_a_clean_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locale: str | None
) -> None:
    """A tool of a scheduler runs in the C locale without options from variables. Payloads have the user's locale."""
    monkeypatch.setenv("CDPATH", "/nowhere")
    if locale is None:
        monkeypatch.delenv("LC_ALL", raising=False)
    else:
        monkeypatch.setenv("LC_ALL", locale)
    async with BatchBackend(LocalTransport(), Exporting(1), root=str(tmp_path / "root")) as backend:
        spec = SubmissionSpec(executable="sh", arguments=("-c", f"printf {SEEN}"))
        handle = (await backend.submit(spec)).handles[0]
        async with asyncio.timeout(SECONDS):
            while not (await backend.status([handle]))[handle].state.final:  # noqa: ASYNC110 -- jobs set no event
                await asyncio.sleep(0.02)
        output = (await backend.fetch_output([handle], tmp_path / "dest"))[handle]
        assert output.stdout is not None
        assert output.stdout.read_text() == f"unset|{locale or 'unset'}|unset"
        seen = tmp_path / "root" / handle.job.partition(".")[0] / "tool"
        assert seen.read_text() == f"unset|C|{locale or ''}"


@pytest.mark.asyncio
async def test_users_variables_do_not_change_the_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the user with names that a script uses change no answer, and no directory is removed."""
    precious = tmp_path / "precious"
    precious.mkdir()
    for name in ("open_only", "every_id", "scratch", "force", "indices", "is_final", "submission_id"):
        monkeypatch.setenv(name, str(precious))
    async with BatchBackend(LocalTransport(), DirectScheduler(1), root=str(tmp_path / "root")) as backend:
        handle = (await backend.submit(SubmissionSpec(executable="true", tag="t"))).handles[0]
        async with asyncio.timeout(SECONDS):
            while not (await backend.status([handle]))[handle].state.final:  # noqa: ASYNC110 -- jobs set no event
                await asyncio.sleep(0.02)
        assert (await backend.kill([handle]))[handle].ok
        assert (await backend.fetch_output([handle], tmp_path / "dest"))[handle].ok
        assert await backend.find("t") == [handle]
        assert (await backend.purge([handle]))[handle].ok
    assert precious.is_dir()
