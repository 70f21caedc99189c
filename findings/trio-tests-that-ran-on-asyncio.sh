#!/bin/bash
# anyio 4.16.0 with pytest-asyncio 1.5.0 in auto mode: a test marked for anyio is reported as passed "[trio]" and ran on asyncio.
# Expected: one of the two plugins runs it, or an error. anyio parametrises the test over its backends, so the ids say asyncio and
# trio; pytest-asyncio's auto mode then takes every coroutine function for its own, and runs each id on asyncio.
# anyio's manual says that auto mode does not go together with its plugin; nothing says so where it happens.
# Why it matters: a library that claims trio on the ground of a green matrix has not been run on it. Strict mode, the default,
# does it right, so the switch of one option in pyproject.toml takes half of the tests away, all green.
. "$(dirname "$0")/common.sh"
with_pip pytest==9.2.0 pytest-asyncio==1.5.0 anyio==4.16.0 trio sniffio

mkdir "$tmp/project" && cd "$tmp/project"
cat >test_library.py <<'END'
import pytest, sniffio

@pytest.mark.anyio
async def test_library(anyio_backend_name):
    print(f"id {anyio_backend_name}, ran on {sniffio.current_async_library()}")
END
ran() { pytest -s -q --asyncio-mode="$1" 2>/dev/null | grep -o 'id .*'; }

expected "id trio, ran on trio"
version "anyio 4.16.0, pytest-asyncio 1.5.0: strict mode"
seen "$(ran strict)" "id asyncio, ran on asyncio
id trio, ran on trio"
version "anyio 4.16.0, pytest-asyncio 1.5.0: auto mode"
seen "$(ran auto)" "id asyncio, ran on asyncio
id trio, ran on asyncio"
