"""Schedulers whose fragments use what the contract does not offer. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

from intercede.contract import Batch, ToolEnvironment
from intercede.testing.gallery.schedulers.right import PlainQueue


class CallsAMissingFunction(PlainQueue):
    """Calls a shell function that intercede does not have, and hides the failure."""

    caught_by = "IC-SCHEDULER-13"
    message_contains = "it names ic_run, which intercede does not have"

    def status_script(self) -> str:
        return "ic_run plainq list || :"


class CallsAPrivateFunction(PlainQueue):
    """Calls a private shell function of intercede."""

    caught_by = "IC-SCHEDULER-13"
    message_contains = "it names _ic_frame, which is private"

    def list_script(self, submission_id: str) -> str:
        return f"_ic_frame jobs {super().list_script(submission_id)}"


class DefinesAFunctionOfOurs(PlainQueue):
    """Defines a shell function with the name of one of intercede's."""

    caught_by = "IC-SCHEDULER-13"
    message_contains = "it defines ic_tool, which is intercede's"

    def kill_script(self) -> str:
        return f'ic_tool() {{ nice "$@"; }}\n{super().kill_script()}'


class ReadsPrivateFiles(PlainQueue):
    """Reads a private file of intercede on the resource."""

    caught_by = "IC-SCHEDULER-13"
    message_contains = "it reads or writes copies/*/exit"

    def status_script(self) -> str:
        return f"{super().status_script()}\ncat ./*/copies/*/exit >/dev/null 2>&1 || :"


class WritesPrivateFiles(PlainQueue):
    """Writes a private file of intercede on the resource."""

    caught_by = "IC-SCHEDULER-13"
    message_contains = "it reads or writes natives"

    def submit_script(self, batch: Batch) -> str:
        return f"{super().submit_script(batch)} | tee natives"


class ReportsIdsWhenAsked(PlainQueue):
    """Calls ic_report_ids in a listing, although it is only for the fragment that submits."""

    caught_by = "IC-SCHEDULER-13"
    message_contains = "it calls ic_report_ids, which is for the fragment that submits"

    def status_script(self) -> str:
        return f"{super().status_script()}\necho '0 17.0' | ic_report_ids || :"


class NamesVariablesInATuple(PlainQueue):
    """Returns a tuple from tool_environment, not a ToolEnvironment."""

    caught_by = "IC-SCHEDULER-08"
    message_contains = "must return a ToolEnvironment"

    def tool_environment(self) -> ToolEnvironment:
        return ("PLAINQ_*",)  # type: ignore[return-value]  # this is the intended mistake


class UnsetsThePath(PlainQueue):
    """Has a pattern of variables to unset that also matches PATH."""

    caught_by = "IC-SCHEDULER-08"
    message_contains = "'P*' would unset PATH"

    def tool_environment(self) -> ToolEnvironment:
        return ToolEnvironment.model_construct(unset=("P*",))
