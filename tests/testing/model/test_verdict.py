"""The verdict of a run is made of the results of its checks."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.contract.backend import CAPABILITIES, Capability
from intercede.testing.model.clause import MUST, SHOULD, Clause, Level
from intercede.testing.model.verdict import Profile, Report, Result, State, SubjectInfo, Verdict, judge
from intercede.testing.run.context import Context


async def _check(_: Context) -> None: ...


def _make_clause(clause_id: str, level: Level, capability: Capability | None, depends: tuple[str, ...]) -> Clause:
    return Clause(id=clause_id, title="", level=level, check=_check, capability=capability, depends=depends)


@st.composite
def draw_contract(draw: st.DrawFn) -> dict[str, Clause]:
    """Draw a contract whose clauses may depend on clauses that were drawn before them."""
    ids = [f"IC-SUBMIT-{number:02}" for number in range(1, draw(st.integers(1, 7)) + 1)]
    clauses: list[Clause] = []
    for index, clause_id in enumerate(ids):
        depends = draw(st.lists(st.sampled_from(ids[:index]), unique=True, max_size=2)) if index else []
        capability: Capability | None = draw(st.sampled_from([None, None, "output", "kill"]))
        clauses.append(_make_clause(clause_id, draw(st.sampled_from(list(Level))), capability, tuple(depends)))
    order = draw(st.permutations(clauses))
    return {each.id: each for each in order}


STATES = st.sampled_from(sorted(set(State) - {State.NOT_APPLICABLE, State.BLOCKED}))
RUNS = draw_contract().flatmap(
    lambda clauses: st.tuples(st.just(clauses), st.fixed_dictionaries(dict.fromkeys(clauses, STATES)))
)
CLAIMS = st.frozensets(st.sampled_from(sorted(CAPABILITIES)))


def _judge(
    clauses: Mapping[str, Clause],
    states: Mapping[str, State],
    claims: frozenset[Capability] = frozenset(),
    *,
    profile: Profile = "full",
    is_partial: bool = False,
    required: frozenset[Capability] = frozenset(),
    lost_because_of: str = "",
    none_selected: bool = False,
) -> Report:
    facts = SubjectInfo(id="x", config="x", name="x", origins=(("dist", "1"),), capabilities=claims)
    results = {each: Result(each, state) for each, state in states.items() if state is not State.NOT_RUN}
    return judge(
        facts,
        clauses,
        results,
        profile=profile,
        is_partial=is_partial,
        required=required,
        lost_because_of=lost_because_of,
        none_selected=none_selected,
    )


@given(RUNS, CLAIMS, st.booleans())
def test_any_red_must_is_not_conformant(
    run: tuple[dict[str, Clause], dict[str, State]],
    claims: frozenset[Capability],
    selected: bool,
) -> None:
    """A run with a red MUST is NOT CONFORMANT, however many checks were left out.

    A SHOULD with an ERROR or an UNEXPECTED_PASS counts as well.
    """
    clauses, states = run
    report = _judge(clauses, states, claims, is_partial=selected)

    red = [each for each in report.red if clauses[each].level is MUST or states[each] is not State.FAILED]

    assert (report.verdict is Verdict.NOT_CONFORMANT) == bool(red)
    if red:
        assert report.line.startswith("intercede: x 1 (dist) is NOT CONFORMANT: fix IC-SUBMIT-")


@given(RUNS, CLAIMS)
def test_conformant_means_that_every_must_ran(
    run: tuple[dict[str, Clause], dict[str, State]], claims: frozenset[Capability]
) -> None:
    """A run is CONFORMANT only if each MUST that applies passed or failed as known."""
    clauses, states = run
    report = _judge(clauses, states, claims)

    if report.verdict is Verdict.CONFORMANT:
        applying = [c for c in clauses.values() if c.level is MUST and c.capability in {None, *claims}]
        assert all(states[each.id] in {State.PASSED, State.KNOWN} for each in applying)
        assert f"{len(applying)}/{len(applying)} MUST" in report.line


@given(RUNS, CLAIMS)
def test_a_must_without_a_result_is_never_conformant(
    run: tuple[dict[str, Clause], dict[str, State]], claims: frozenset[Capability]
) -> None:
    """A run is not CONFORMANT if the result of one MUST that applies is missing."""
    clauses, states = run
    for each in clauses.values():
        if each.level is MUST and each.capability in {None, *claims}:
            fewer = {**states, each.id: State.NOT_RUN}
            assert _judge(clauses, fewer, claims).verdict is not Verdict.CONFORMANT


@given(RUNS, CLAIMS)
def test_a_blocked_clause_names_a_red_one(
    run: tuple[dict[str, Clause], dict[str, State]], claims: frozenset[Capability]
) -> None:
    """A BLOCKED result names a clause that is red, and a check that passed is never BLOCKED."""
    clauses, states = run
    report = _judge(clauses, states, claims)

    assert list(report.results) == list(clauses)
    for result in report.results.values():
        if result.state is State.BLOCKED:
            assert result.blocker is not None
            assert report.results[result.blocker].state.is_red
            assert states[result.clause] is not State.PASSED


@given(RUNS, CLAIMS, st.sampled_from(["core", "full"]))
def test_selection_never_makes_a_run_conformant(
    run: tuple[dict[str, Clause], dict[str, State]], claims: frozenset[Capability], profile: Profile
) -> None:
    """A run of selected checks is PARTIAL or NOT CONFORMANT."""
    clauses, states = run

    report = _judge(clauses, states, claims, profile=profile, is_partial=True)

    assert report.verdict in {Verdict.PARTIAL, Verdict.NOT_CONFORMANT}


FOUR: dict[str, Clause] = {
    each.id: each
    for each in (
        _make_clause("IC-SHAPE-01", MUST, None, ()),
        _make_clause("IC-SUBMIT-01", MUST, None, ("IC-SHAPE-01",)),
        _make_clause("IC-STATUS-01", SHOULD, None, ("IC-SUBMIT-01",)),
        _make_clause("IC-KILL-01", MUST, "kill", ("IC-SUBMIT-01",)),
    )
}
GOOD = dict.fromkeys(FOUR, State.PASSED)
KILL: frozenset[Capability] = frozenset({"kill"})
UNCLAIMED = "output, purge, load, find, diagnostics"


@pytest.mark.parametrize(
    ("line", "report"),
    [
        (
            f"x 1 (dist) is CONFORMANT to contract 1.0, full: 3/3 MUST, 1/1 SHOULD, not applicable: {UNCLAIMED}",
            _judge(FOUR, GOOD, KILL),
        ),
        ("x 1 (dist) is CONFORMANT to contract 1.0, core: 2/2 MUST, 1/1 SHOULD", _judge(FOUR, GOOD, profile="core")),
        (
            "x 1 (dist) is NOT CONFORMANT: fix IC-SUBMIT-01 first, it blocks 2 more",
            _judge(FOUR, {**dict.fromkeys(FOUR, State.FAILED), "IC-SHAPE-01": State.PASSED}, KILL),
        ),
        (
            "x 1 (dist) is NOT CONFORMANT: fix IC-KILL-01",
            _judge(FOUR, {**GOOD, "IC-KILL-01": State.ERROR}, KILL),
        ),
        ("x 1 (dist) is NOT CONFORMANT: it must claim kill, and does not", _judge(FOUR, GOOD, required=KILL)),
        (
            "x: PARTIAL, 1 of 3 MUST ran, all passed",
            _judge(FOUR, {"IC-SHAPE-01": State.PASSED}, KILL, is_partial=True),
        ),
        (
            "x: PARTIAL, 1 of 3 MUST ran, all passed or are known to fail: IC-SHAPE-01",
            _judge(FOUR, {"IC-SHAPE-01": State.KNOWN}, KILL, is_partial=True),
        ),
        (
            "x 1 (dist) is NOT CONFORMANT: fix IC-SUBMIT-01",
            _judge(FOUR, {**GOOD, "IC-SUBMIT-01": State.FAILED}, KILL),  # its dependents ran before it was red
        ),
        (
            "x 1 (dist) is NOT CONFORMANT: fix IC-SHAPE-01 first; red as well: IC-KILL-02",
            _judge(
                {**FOUR, "IC-KILL-02": _make_clause("IC-KILL-02", MUST, "kill", ())},
                {**GOOD, "IC-SHAPE-01": State.FAILED, "IC-KILL-02": State.FAILED},
                KILL,
            ),
        ),
        ("x: PARTIAL, 0 of 3 MUST ran", _judge(FOUR, {}, KILL, is_partial=True)),
        (
            "x: PARTIAL, none of its 3 MUST was selected",
            _judge(FOUR, {}, KILL, is_partial=True, none_selected=True),
        ),
        (
            "x: INCOMPLETE, 2 MUST did not run: IC-SUBMIT-01, IC-KILL-01 (lost to conftest.py)",
            _judge(FOUR, {"IC-SHAPE-01": State.PASSED}, KILL, lost_because_of="conftest.py"),
        ),
    ],
    ids=lambda value: value.verdict if isinstance(value, Report) else "",
)
def test_each_verdict_has_its_line(line: str, report: Report) -> None:
    """The line of a report states the verdict and the clauses that decided it."""
    assert report.line == f"intercede: {line}"


@pytest.mark.parametrize(
    ("origins", "title", "distribution", "version"),
    [
        ((), "ssh+lsf", None, None),
        ((("intercede", "1"),), "ssh+lsf 1 (intercede)", "intercede", "1"),
        (
            (("zeta-ssh", "0.1"), ("acme-lsf", "2+x")),
            "ssh+lsf (zeta-ssh 0.1, acme-lsf 2+x)",
            "zeta-ssh+acme-lsf",
            "0.1+2+x",
        ),
    ],
)
def test_a_composed_subject_names_its_distributions(
    origins: tuple[tuple[str, str], ...], title: str, distribution: str | None, version: str | None
) -> None:
    """The title of a composed subject names each distribution beside its version, the transport's first."""
    facts = SubjectInfo(id="ssh+lsf", config="x", name="x", origins=origins)

    assert (facts.title, facts.distribution, facts.version) == (title, distribution, version)


def test_a_red_should_is_counted_and_decides_nothing() -> None:
    """A red SHOULD is counted in the line of the report and leaves the verdict CONFORMANT."""
    report = _judge(FOUR, {**GOOD, "IC-STATUS-01": State.FAILED}, KILL)

    assert report.verdict is Verdict.CONFORMANT
    assert "0/1 SHOULD" in report.line
    assert report.red == ("IC-STATUS-01",)


def test_a_blocked_must_is_no_pass() -> None:
    """A run is INCOMPLETE if a red SHOULD blocks a MUST and nothing else is red."""
    clauses = {
        "IC-STATUS-01": _make_clause("IC-STATUS-01", SHOULD, None, ()),
        "IC-STATUS-02": _make_clause("IC-STATUS-02", MUST, None, ("IC-STATUS-01",)),
    }

    report = _judge(clauses, dict.fromkeys(clauses, State.FAILED))

    assert report.results["IC-STATUS-02"].state is State.BLOCKED
    assert report.verdict is Verdict.INCOMPLETE


def test_a_clause_is_blocked_through_one_that_passed() -> None:
    """A red clause is BLOCKED if it depends on a passed clause that depends on a red one."""
    clauses = {
        "IC-STATUS-01": _make_clause("IC-STATUS-01", MUST, None, ()),
        "IC-STATUS-02": _make_clause("IC-STATUS-02", MUST, None, ("IC-STATUS-01",)),
        "IC-STATUS-03": _make_clause("IC-STATUS-03", MUST, None, ("IC-STATUS-02",)),
    }
    states = {"IC-STATUS-01": State.FAILED, "IC-STATUS-02": State.PASSED, "IC-STATUS-03": State.FAILED}

    report = _judge(clauses, states)

    assert report.red == ("IC-STATUS-01",)
    assert report.results["IC-STATUS-03"].blocker == "IC-STATUS-01"


@pytest.mark.parametrize("selected", [False, True])
def test_a_refused_subject_is_not_conformant(*, selected: bool) -> None:
    """A subject that the gate refused is NOT CONFORMANT, whichever checks ran.

    The gate's message is the finding, and a required capability that is not claimed is no second one.
    """
    facts = SubjectInfo(id="x", config="x", name="x", refusal="it does not load")

    report = judge(facts, FOUR, {}, required=KILL, is_partial=selected)

    assert report.line == "intercede: x is NOT CONFORMANT: fix IC-SHAPE-01 first, it blocks 3 more"
    assert report.results["IC-SHAPE-01"].message == "it does not load"
