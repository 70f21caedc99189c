"""Schedulers whose fragments use private parts of intercede, or whose tool_environment is wrong."""

# ruff: noqa: D102 -- the class says what its methods do otherwise

from intercede.contract import Batch, ToolEnvironment
from intercede.testing.gallery.schedulers.right import PlainQueue


class CallsAMissingFunction(PlainQueue):
    """Calls a function that intercede does not have: the listing is empty, and its exit code is lost."""

    caught_by = "IC-SCHEDULER-13"
    message_contains = "it names ic_run, which intercede does not have"

    def status_script(self) -> str:
        return "ic_run plainq list || :"


class CallsAPrivateFunction(PlainQueue):
    """Calls a function that is private, and may mean something else tomorrow."""

    caught_by = "IC-SCHEDULER-13"
    message_contains = "it names _ic_frame, which is private"

    def list_script(self, submission_id: str) -> str:
        return f"_ic_frame jobs {super().list_script(submission_id)}"


class DefinesAFunctionOfOurs(PlainQueue):
    """Defines a function with the name of a documented one."""

    caught_by = "IC-SCHEDULER-13"
    message_contains = "it defines ic_tool, which is intercede's"

    def kill_script(self) -> str:
        return f'ic_tool() {{ nice "$@"; }}\n{super().kill_script()}'


class ReadsPrivateFiles(PlainQueue):
    """Reads how a copy ended out of a file that is private."""

    caught_by = "IC-SCHEDULER-13"
    message_contains = "it reads or writes copies/*/exit"

    def status_script(self) -> str:
        return f"{super().status_script()}\ncat ./*/copies/*/exit >/dev/null 2>&1 || :"


class WritesPrivateFiles(PlainQueue):
    """Writes ids into a private file, instead of reporting them."""

    caught_by = "IC-SCHEDULER-13"
    message_contains = "it reads or writes natives"

    def submit_script(self, batch: Batch) -> str:
        return f"{super().submit_script(batch)} | tee natives"


class ReportsIdsWhenAsked(PlainQueue):
    """Reports ids in a listing, which does not take them."""

    caught_by = "IC-SCHEDULER-13"
    message_contains = "it calls ic_report_ids, which is for the fragment that submits"

    def status_script(self) -> str:
        return f"{super().status_script()}\necho '0 17.0' | ic_report_ids || :"


class NamesVariablesInATuple(PlainQueue):
    """Returns the variables of its tools as a tuple, which does not say when to unset them."""

    caught_by = "IC-SCHEDULER-08"
    message_contains = "must return a ToolEnvironment"

    def tool_environment(self) -> ToolEnvironment:
        return ("PLAINQ_*",)  # type: ignore[return-value]  # the mistake


class UnsetsThePath(PlainQueue):
    """Names variables by a pattern that matches PATH, too."""

    caught_by = "IC-SCHEDULER-08"
    message_contains = "'P*' would unset PATH"

    def tool_environment(self) -> ToolEnvironment:
        return ToolEnvironment.model_construct(unset=("P*",))
