"""Sentences of the contract that no check can observe from outside. A verdict says nothing about them."""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["UNTESTED"]

UNTESTED: Mapping[str, str] = MappingProxyType(
    {
        "If no copy could be started, submit raises; if some were, it returns, with the others in `failures`.": (
            "A resource that works refuses no copy, and the kit cannot make one fail: IC-SUBMIT-01 reads both mappings "
            "as they are."
        ),
        "LimitError is raised for the resource's own submission limit, and then no copy was started.": (
            "Only a submission that reaches the limit would show it. The kit must not do that on a "
            "resource that others use."
        ),
        "ResourceError and CopyFailure say by `retryable` whether trying again may help.": (
            "The check would need a failure that passes and one that does not."
        ),
        "If a call fails as a whole, it raises TransportError, AuthenticationError or SchedulerError, and never "
        "answers an empty mapping.": (
            "The kit cannot take the network, the credentials or the scheduler away. For a scheduler plugin, "
            "IC-SCHEDULER checks its answer to a command that failed."
        ),
        "A connection that is lost in the middle of a command is a TransportError, and never an exit code.": (
            "The kit cannot cut a connection. IC-TRANSPORT sees commands that end in every way that a command can end."
        ),
        "A refused or expired credential is an AuthenticationError.": (
            "The check would need wrong credentials, and a resource may count attempts and lock the user out."
        ),
        "Leaving a transport while a run is under way ends the run.": (
            "A caller that leaves while it still awaits a run is wrong itself; the plugin chooses what happens then."
        ),
        "After any other error of submit than a cancellation, find returns exactly the jobs that were started.": (
            "IC-FIND-05 cancels. The kit cannot break a connection in the middle of a submit."
        ),
        "A job that is no longer listed and left no record is UNKNOWN (lost): absence is never success.": (
            "No resource loses a job on request. IC-STATUS-03 asks for jobs that never existed or were purged."
        ),
        "out_of_memory, node_failure, preempted, killed_by_site, launch_failure and staging are reported as such.": (
            "The check would need a resource that kills for memory, takes nodes away, or cannot stage. IC-STATUS-14 "
            "sees timeout."
        ),
        "Staging in is QUEUED; suspended, completing and staging out is RUNNING; held and error-held is HELD.": (
            "The contract has no way to bring a job into these states. For schedulers, recorded answers show it."
        ),
        "A QUEUED or HELD job is not purged.": (
            "IC-PURGE-02 checks it with a job that has been seen RUNNING: the resource decides whether one waits."
        ),
        "A final state changes to UNKNOWN once the resource's retention is over, and to no other state.": (
            "Retention takes days. IC-STATUS-08 sees the state stay for a moment, and IC-PURGE-01 sees it go."
        ),
        "A purged job leaves no data on the resource.": (
            "The kit sees the resource only through the backend, for which the job is gone (IC-PURGE-01)."
        ),
        "cpus, memory_mb and gpus are honoured, refused or ignored.": (
            "Every outcome is one of the three. For wall_time_s, which has a reason of its own, see IC-STATUS-14."
        ),
        "A queue and a container are kept: the job runs in that queue and that image.": (
            "Only the resource knows its queues and images. IC-SUBMIT-13 sees that impossible ones are not dropped."
        ),
        "The resource fetches URLs that are inputs, and uploads to URLs that are destinations of outputs.": (
            "The check would need a server that the resource reaches. IC-SUBMIT-13 sees that an unknown scheme is not "
            "dropped."
        ),
        "The base environment is the resource's own.": (
            "The kit cannot know the resource's own environment: on this machine it may well be the caller's."
        ),
        "JobHandle.resource holds no secret.": (
            "Only the plugin knows which values of a configuration are secret. IC-SUBMIT-08 looks for the secrets of "
            "copies in the handle."
        ),
        "A secret is on no disk but in its own file, and in no process of any other host.": (
            "IC-SUBMIT-08 looks at the processes, log records, errors and answers that can be seen from here and from "
            "the job."
        ),
        "An output's directory is built aside and renamed into place.": (
            "The kit cannot stop a fetch at a chosen moment. IC-OUTPUT-08 sees that no temporary entry is left, "
            "IC-OUTPUT-17 that the new directory replaces all of the old one."
        ),
        "Only this user's jobs that were submitted with intercede are counted.": (
            "The kit cannot submit as another user. IC-LOAD sees that unfinished jobs are counted, and that the count "
            "falls."
        ),
        "ConfigError names the invalid field, says what is wrong with it, and what is valid.": (
            "Every backend has options of its own, and the kit knows only those that it was given."
        ),
        "Credentials come from the CredentialProvider, again when they expire; the caller owns and closes it.": (
            "A run has the credentials that the configuration names, and they outlive it."
        ),
        "Another machine can drive a job by its handle.": (
            "A run uses one machine. IC-HANDLE-03 asks in another process."
        ),
        "Hosts and pid namespaces that share a state directory do not mistake each other's processes for their own.": (
            "A run uses one namespace of one host, and cannot make process numbers coincide. For schedulers, "
            "IC-SCHEDULER-10 and IC-SCHEDULER-11 check how a number of another job is read."
        ),
        "A process number that the system used again is not mistaken for the job that had it.": (
            "Only the system gives numbers. IC-SCHEDULER-10 swaps a scheduler's numbers in recorded answers."
        ),
        "A job that is submitted from inside a job is not part of it, and outlives it.": (
            "The kit does not run on the resource's nodes, where intercede need not be installed. IC-SUBMIT-17 submits "
            "with the variables of a job."
        ),
        "When a job ends, everything that it started ends on every node.": (
            "IC-KILL-07, IC-KILL-10, IC-KILL-12, IC-STATUS-18 and IC-STATUS-19 look for processes by another job, "
            "which sees only its own node and namespace."
        ),
    }
)
