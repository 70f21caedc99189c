"""The architecture holds: parts import only what the page allows, and load no more than they need."""

import ast
import graphlib
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from tests.built_in import ENTRY_POINTS

from intercede.batch.remote.layout import PRIVATE_FILES

SRC = Path(__file__).parents[1] / "src"
DOCS = Path(__file__).parents[1] / "docs"
MODULES = sorted((SRC / "intercede").rglob("*.py"))

PAGE = DOCS / "explanation" / "architecture.md"


def read_rows(page: str, heading: str) -> dict[str, tuple[set[str], set[str]]]:
    """Read the table behind a heading: each part, what it may import of intercede, and its third-party libraries."""
    section = page.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]
    lines = [line.split("|")[1:4] for line in section.splitlines() if line.startswith("| `")]
    return {
        part.strip(" `"): (set(re.findall(r"`(\w+)`", ours)), set(re.findall(r"`(\w+)`", theirs)))
        for part, ours, theirs in lines
    }


PARTS = read_rows(PAGE.read_text(), "## Permitted imports")
STAGES = read_rows(PAGE.read_text(), "### Inside the conformance kit")
ALSO = {"pytest": {"_pytest"}, "typer": {"click"}}
"""Packages of a library which the page does not name."""


def get_part(path: Path) -> str:
    """Return the part of intercede that a file belongs to."""
    return path.relative_to(SRC / "intercede").parts[0].removesuffix(".py")


def get_stage(path: Path) -> str | None:
    """Return the stage of the kit that a file belongs to, or None for the file of the public names."""
    parts = path.relative_to(SRC / "intercede").parts
    return parts[1] if parts[0] == "testing" and len(parts) > 2 else None


@cache
def parse(path: Path) -> ast.Module:
    """Parse a file once."""
    return ast.parse(path.read_text())


@cache
def list_imports(path: Path) -> list[str]:
    """Return each module that a file imports, at any place in it."""
    names: list[str] = []
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            names.append(node.module or "")
            names += [f"{node.module}.{alias.name}" for alias in node.names if node.module == "intercede"]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


def list_imported_parts(path: Path) -> set[str]:
    """Return the parts of intercede that a file imports."""
    names = [name.split(".") for name in list_imports(path) if name.split(".")[0] == "intercede"]
    return {name[1] for name in names if len(name) > 1}


def list_imported_stages(path: Path) -> set[str]:
    """Return the stages of the kit that a file imports."""
    names = [name.split(".") for name in list_imports(path) if name.startswith("intercede.testing.")]
    return {name[2] for name in names}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_a_module_imports_only_allowed_parts(path: Path) -> None:
    """A module imports its own part and those that the page lists for it, and nothing else of intercede."""
    part, stage = get_part(path), get_stage(path)

    assert list_imported_parts(path) <= PARTS[part][0] | {part}
    if stage is not None:
        assert list_imported_stages(path) <= STAGES[stage][0] | {stage}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_a_module_imports_the_libraries_that_its_part_may(path: Path) -> None:
    """A module imports only the third-party libraries that the page lists for its part or stage."""
    stage = get_stage(path)
    listed = (PARTS[get_part(path)] if stage is None else STAGES[stage])[1]
    roots = {name.split(".")[0] for name in list_imports(path)}
    foreign = roots - set(sys.stdlib_module_names) - {"intercede", ""}

    assert foreign <= listed.union(*(ALSO.get(each, set()) for each in listed))


def test_the_page_lists_every_part_and_stage() -> None:
    """The page has a row for each part of intercede and each stage of the kit, and one for a planned package."""
    assert {get_part(path) for path in MODULES} ^ PARTS.keys() <= {"backends"}
    assert {stage for path in MODULES if (stage := get_stage(path))} == STAGES.keys()


@pytest.mark.parametrize("table", [PARTS, STAGES], ids=["parts", "stages"])
def test_no_two_parts_import_each_other(table: dict[str, tuple[set[str], set[str]]]) -> None:
    """The tables have an order in which each part imports only earlier ones. `__init__` lists names for `cli`."""
    order = graphlib.TopologicalSorter({part: ours - {"__init__"} for part, (ours, _) in table.items()})

    assert set(order.static_order()) >= table.keys()


def test_the_kit_has_at_most_seven_layers() -> None:
    """A stage lies one layer above the highest that it imports."""

    def layer(stage: str) -> int:
        return 1 + max(map(layer, STAGES[stage][0]), default=0)

    assert max(map(layer, STAGES)) <= 7


@pytest.mark.parametrize("plugins", ["transports", "schedulers", "backends"])
def test_no_module_imports_a_built_in_plugin(plugins: str) -> None:
    """No module outside imports a built-in plugin, since they are loaded through entry points."""
    outside = [path for path in MODULES if get_part(path) != plugins]

    assert [path for path in outside if plugins in list_imported_parts(path)] == []


@pytest.mark.parametrize(
    ("door", "shut"),
    [
        ("intercede_pytest", {"intercede", "asyncio", "pydantic", "json"}),
        ("intercede", {"pydantic", "asyncio", "importlib.metadata", "typing", "pytest", "intercede.registry"}),
        ("intercede.registry", {"pydantic", "asyncio", "importlib.metadata", "pytest", "intercede.batch"}),
        ("intercede.contract", {"pydantic", "asyncio", "pytest"}),
        ("intercede.batch", {"pytest", "typer", "rich", "intercede.transports.local", "intercede.schedulers.direct"}),
        ("intercede.testing", {"pytest", "typer", "rich"}),
    ],
)
def test_importing_one_part_loads_no_unneeded_module(door: str, shut: set[str]) -> None:
    """Importing one part of intercede does not load modules that only another part needs."""
    code = f"import sys; sys.modules.pop('importlib.metadata', None); import {door}; print(*sys.modules)"
    preloaded = "import pytest; " if door == "intercede_pytest" else ""
    before = set(_run(f"{preloaded}import sys; print(*sys.modules)"))

    loaded = set(_run(preloaded + code)) - before

    assert loaded & shut == set()


def _run(code: str) -> list[str]:
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_all_lists_the_public_names(path: Path) -> None:
    """__all__ of a module lists each public function and class, and each module of the contract has one."""
    tree = parse(path)
    lists = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    defined = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }

    assert lists or get_part(path) != "contract"
    assert not lists or defined <= {str(name) for name in ast.literal_eval(lists[0])}


def test_the_contract_shows_every_name_of_its_modules() -> None:
    """intercede.contract and intercede have each name that the modules of the contract list."""
    contract = import_module("intercede.contract")
    nouns = ["errors", "job", "credentials", "transport", "scheduler", "backend"]
    names = [name for noun in nouns for name in import_module(f"intercede.contract.{noun}").__all__]

    assert sorted(["VERSION", *names]) == sorted(contract.__all__)
    assert all(getattr(import_module("intercede"), name) is getattr(contract, name) for name in names)


@pytest.mark.parametrize("module", ["intercede", "intercede.contract", "intercede.testing"])
def test_a_package_lists_its_public_names(module: str) -> None:
    """``dir`` of a package lists each public name before it is loaded, for completion in a shell."""
    program = f"import {module} as window; print(*dir(window)); print(*window.__all__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    listed, shown = (line.split() for line in done.stdout.splitlines())

    assert set(shown) <= set(listed)
    assert listed == sorted(listed)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """An unknown attribute of a package with lazy names is an AttributeError."""
    for module in ("intercede", "intercede.contract"):
        with pytest.raises(AttributeError, match="no attribute 'Transprot'"):
            import_module(module).Transprot  # noqa: B018 -- the access is the test


TESTS_DIR = Path(__file__).parent
TESTS = sorted(TESTS_DIR.rglob("test_*.py"))


def list_inner_functions(test: ast.AST, nodes: list[ast.AST]) -> set[str]:
    """Return the functions that a test defines within itself, except those with a decorator."""
    inner = (node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    methods = {id(method) for node in nodes if isinstance(node, ast.ClassDef) for method in node.body}
    return {node.name for node in inner if node is not test and not node.decorator_list and id(node) not in methods}


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(TESTS_DIR)))
def test_a_test_runs_the_functions_that_it_defines(path: Path) -> None:
    """A test uses each function that it defines, since otherwise its body cannot fail."""
    for test in parse(path).body:
        if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef) and test.name.startswith("test_"):
            nodes = list(ast.walk(test))
            used = {node.id for node in nodes if isinstance(node, ast.Name)}
            assert list_inner_functions(test, nodes) <= used, test.name


def test_an_event_loop_of_a_tests_own_has_a_reason() -> None:
    """A test of coroutines runs under pytest-asyncio.

    A line that runs an event loop itself has a comment that says why.
    """
    unsaid = [
        f"{path.name}:{node.lineno}"
        for path in TESTS
        for lines in [path.read_text().splitlines()]
        if ".run(" in "".join(lines)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"asyncio.run", "asyncio.Runner"}
        if " # " not in lines[node.lineno - 1]
    ]
    assert unsaid == []


SCRIPTS = {path.relative_to(SRC / "intercede"): path.read_text() for path in sorted(SRC.rglob("*.sh"))}
#: The functions of intercede that a fragment may use, and the variables that they set.
API = {"ic_tool", "ic_read_record", "ic_forget_secrets", "ic_report_ids", "ic_end", "ic_number", "ic_api"}
#: Of the files in a submission's directory only the wrapper is for schedulers. A built-in has no such word at all, even
#: if IC-SCHEDULER-13 would accept it.
PRIVATE_WORDS = rf"copies/|\b(?:final|{'|'.join({*PRIVATE_FILES} - {'copies'})})\b|/(?:exit|work|killed)\b"


def strip_comments(text: str) -> str:
    """Return a script without comments."""
    return re.sub(r"(^|(?<=\s))#.*", "", text, flags=re.MULTILINE)


def list_functions(text: str) -> list[str]:
    """Return the functions that a script defines."""
    return re.findall(r"^([A-Za-z_]\w*)\(\) \{", text, re.MULTILINE)


def list_scripts(folder: str) -> dict[str, str]:
    """Return the scripts of a part without comments, by their paths in it."""
    return {
        str(path.relative_to(folder)): strip_comments(text) for path, text in SCRIPTS.items() if path.parts[0] == folder
    }


def test_batch_names_no_scheduler() -> None:
    """No script or module of batch has the name, a command or a variable of a scheduler."""
    modules = {str(path): path.read_text() for path in MODULES if get_part(path) == "batch"}
    named = re.compile(
        rf"\b({'|'.join({*ENTRY_POINTS} - {'direct'})}|condor|pbs|lsf|oar|arc|(SLURM|SBATCH|BSUB|PBS|_?CONDOR)_\w*"
        r"|s(batch|queue|acct|cancel)|q(sub|stat|del))\b",
        re.IGNORECASE,
    )

    assert {
        name: found[0] for name, text in {**list_scripts("batch"), **modules}.items() if (found := named.search(text))
    } == {}


def test_scripts_of_one_shell_define_different_functions() -> None:
    """No function is defined in two scripts of batch, or in two scripts of one scheduler, which run in one shell."""
    scripts = list_scripts("schedulers")
    schedulers = {name.partition(".")[0] for name in scripts}
    families = [{name: text for name, text in scripts.items() if name.startswith(f"{each}.")} for each in schedulers]
    for family in [list_scripts("batch"), *families]:
        defined = Counter(name for text in family.values() for name in list_functions(text))
        assert [name for name, times in defined.items() if times > 1] == []


def test_all_functions_of_batch_but_the_api_are_private() -> None:
    """Each function of batch's scripts begins with _ic_, except those that fragments may call."""
    scripts = list_scripts("batch")
    api = {name for name in list_functions(scripts["remote/api.sh"]) if not name.startswith("_ic_")}
    others = [name for text in scripts.values() for name in list_functions(text) if name not in api]

    assert api == API - {"ic_end", "ic_number", "ic_api"}
    assert [name for name in others if not name.startswith("_ic_")] == []


@pytest.mark.parametrize("name", list_scripts("schedulers"))
def test_a_schedulers_script_uses_only_the_api(name: str) -> None:
    """A script of a scheduler uses only documented functions, defines none of them, and names no private file."""
    text = list_scripts("schedulers")[name]
    ours = set(re.findall(r"(?<![\w-])_?ic_\w+", text))

    assert ours <= API
    assert [each for each in list_functions(text) if each in API] == []
    assert re.findall(PRIVATE_WORDS, re.sub(r"\bic_\w+", "", text)) == []


def test_the_reference_describes_the_whole_api() -> None:
    """docs/reference/types.md describes each function and each variable that it sets."""
    section = (
        (DOCS / "reference/types.md").read_text().split("### Functions that a fragment may call")[1].split("\n### ")[0]
    )

    assert {name for name in API if f"`{name}" not in section and f"`${name}" not in section} == set()


def test_the_place_of_options_is_one_value() -> None:
    """No function of the registry and the configuration passes the place of options as separate texts."""
    parts = [path for path in MODULES if get_part(path) in {"registry", "config", "location"}]
    functions = [
        node
        for path in parts
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    parameters = {each.arg for node in functions for each in [*node.args.args, *node.args.kwonlyargs]}

    assert parameters & {"where", "prefix", "flat", "reserved"} == set()


NOT_OF_ONE_PART = {"daemons", "daemons/faults", "integration"}
"""Directories of tests that run many parts together, on real daemons or installed from wheels."""


def list_directories() -> set[str]:
    """Return each directory with test files, relative to the directory of all tests."""
    return {str(path.parent.relative_to(TESTS_DIR)) for path in TESTS if path.parent != TESTS_DIR}


def test_a_directory_of_tests_has_the_path_of_a_module() -> None:
    """Each directory of tests has the path of a package or a module of intercede, except those that test many parts."""
    sources = {str(path.relative_to(SRC / "intercede").with_suffix("")).removesuffix("/__init__") for path in MODULES}

    assert list_directories() - sources == NOT_OF_ONE_PART


def test_each_package_has_a_directory_of_tests() -> None:
    """Each package at the top of intercede, and each stage of the kit, has a directory of tests of the same name."""
    packages = {str(path.parent.relative_to(SRC / "intercede")) for path in MODULES if path.name == "__init__.py"}
    expected = {each for each in packages if "/" not in each or re.fullmatch(r"testing/\w+", each)} - {"."}

    assert expected - list_directories() == set()


def test_no_file_of_tests_is_long() -> None:
    """A file of tests has at most 500 lines."""
    lines = {path: len(path.read_text().splitlines()) for path in TESTS_DIR.rglob("*.py")}

    assert {str(path.relative_to(TESTS_DIR)): number for path, number in lines.items() if number > 500} == {}


def test_each_scheduler_is_an_entry_point_with_recordings() -> None:
    """Each public module of schedulers/ is an entry point in pyproject.toml and has recordings."""
    folder = SRC / "intercede" / "schedulers"
    modules = {path.stem for path in folder.glob("[!_]*.py")}
    scripts = {path.name.partition(".")[0] for path in folder.glob("*.sh")}

    assert modules == {target.partition(":")[0].rpartition(".")[2] for target in ENTRY_POINTS.values()}
    assert scripts <= modules
    assert {path.name for path in (folder / "recordings").iterdir()} == modules
