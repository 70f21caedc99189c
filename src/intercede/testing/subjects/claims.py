"""The function that loads a subject in a child process, and reports what it claims or why it was refused."""

import warnings

from intercede.contract.backend import capabilities
from intercede.contract.errors import ConfigError, PluginContractError, PluginError, PluginLoadError
from intercede.testing.subjects.child import ChildContext
from intercede.testing.subjects.subject import Subject

__all__ = ["report_claims"]


def report_claims(child: ChildContext) -> None:
    """Make the subject, and report its capabilities or an error, and the warnings about shadowed built-ins."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        answer = _load(child.subject)
    shadows = [str(each.message) for each in caught if each.category.__name__ == "PluginShadowWarning"]
    child.report({**answer, "warnings": shadows})


def _load(subject: Subject) -> dict[str, object]:
    try:
        subject.make_plugin()
        claimed = () if subject.role == "scheduler" else capabilities(subject.make_backend())
    except (PluginLoadError, PluginContractError) as error:
        return {"refusal": str(error)}
    except (ConfigError, PluginError) as error:
        return {"usage": str(error)}
    except BaseException as error:  # noqa: BLE001 -- in this process, only the subject raises
        return {"refusal": f"building it raised {type(error).__name__}: {error}"}
    return {"capabilities": sorted(claimed)}
