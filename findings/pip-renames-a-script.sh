#!/bin/bash
# pip 26.3: a console script whose name holds a blank is installed under another name: a blank and the last word.
# Expected: the name as the wheel has it, or an error; the entry point specification discourages such names and allows them,
# and importlib.metadata reports the whole name. pip hands "NAME = TARGET" to distlib as text, which searches for the pattern
# of a name anywhere in it. It answers "Successfully installed". uv 0.13.9 makes the file that was named.
# Why it matters: the command that the metadata promise is not there, and two scripts that end alike are one file.
# Source: pypa/distlib issue 203, with a comma in the name.
. "$(dirname "$0")/common.sh"
with_pip pip==26.3 uv==0.13.9 setuptools==84.2.1

mkdir "$tmp/project" && cd "$tmp/project"
echo 'def main(): print("hello")' >hello.py
cat >pyproject.toml <<'END'
[project]
name = "hello"
version = "1"
scripts."say hello" = "hello:main"
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
END
pip --quiet wheel --no-build-isolation . 2>/dev/null

installed() { (cd "$tmp/venv/bin" && ls -- *hello*); }

version "$(pip --version | cut -d' ' -f1-2)"
expected "'say hello'"
pip --quiet install hello-1-py3-none-any.whl 2>/dev/null
seen "'$(installed)'" "' hello'"
pip --quiet uninstall --yes hello 2>/dev/null
version "$(uv --version | cut -d' ' -f1-2)"
uv --quiet pip install --python "$tmp/venv" hello-1-py3-none-any.whl
seen "'$(installed)'" "'say hello'"
