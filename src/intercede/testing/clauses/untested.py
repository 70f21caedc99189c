"""What the contract asks for and no check can see from outside: listed, so that nobody takes a green run for more."""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["UNTESTED"]

UNTESTED: Mapping[str, str] = MappingProxyType(
    {
        "Where no copy could be started, submit raises; where some were, it returns, with the others in `failures`.": (
            "A resource that works refuses no copy, and the kit has no way to make one fail: IC-SUBMIT-01 reads both "
            "mappings as they come."
        ),
        "LimitError is raised for the resource's own submission limit, and then nothing was started.": (
            "Only as many jobs as reach the limit would show it, and on a resource that others use nobody may do that."
        ),
        "ResourceError and CopyFailure tell by `retryable` whether trying again may help.": (
            "It needs a failure that passes and one that does not."
        ),
        "What fails as a whole raises TransportError, AuthenticationError or SchedulerError, never an empty answer.": (
            "The kit cannot take the network, the credentials or the scheduler away. Of a scheduler's plugin, "
            "IC-SCHEDULER tells what it makes of a failing command."
        ),
        "A connection that is lost in the middle of a command is a TransportError, and never an exit code.": (
            "The kit cannot cut a connection. IC-TRANSPORT sees commands that end in every way that a command can end."
        ),
        "A refused or expired credential is an AuthenticationError.": (
            "It needs credentials that are wrong, and a resource that counts and locks out is not to be tried with them."
        ),
        "Leaving a transport while a run is under way ends the run.": (
            "A caller that leaves while it still awaits breaks its own structure; what then comes is the plugin's choice."
        ),
        "After any other error of submit than a cancellation, find returns exactly the jobs that were started.": (
            "IC-FIND-05 cancels. A connection that breaks in the middle of a submit is not the kit's to break."
        ),
        "A job that is no longer listed and left no record is UNKNOWN (lost): absence is never success.": (
            "No resource loses a job when asked to. IC-STATUS-03 asks for jobs that never were or were purged."
        ),
        "out_of_memory, node_failure, preempted, killed_by_site, launch_failure and staging are told as such.": (
            "It needs a resource that kills for memory, takes nodes away, or cannot stage. IC-STATUS-14 sees timeout."
        ),
        "Staging in is QUEUED; suspended, completing and staging out is RUNNING; held and error-held is HELD.": (
            "None of these can be brought about through the contract. For schedulers, recorded answers tell."
        ),
        "A QUEUED or HELD job is not purged.": (
            "IC-PURGE-02 does it with a job that has been seen RUNNING: whether one waits is the resource's decision."
        ),
        "A final state changes to UNKNOWN once the resource's retention is over, and to nothing else.": (
            "Retention takes days. IC-STATUS-08 sees it stay for a moment, and IC-PURGE-01 sees it go."
        ),
        "Nothing of a purged job is left on the resource.": (
            "The kit sees the resource through the backend only, for which the job is gone (IC-PURGE-01)."
        ),
        "cpus, memory_mb and gpus are honoured, refused or ignored.": (
            "Whatever happens is one of the three. Of wall_time_s, which has a word of its own, see IC-STATUS-14."
        ),
        "A queue and a container are kept: the job runs there, in that image.": (
            "Which queues and images there are is known to the resource alone. IC-SUBMIT-13 sees that impossible ones "
            "are not dropped."
        ),
        "URLs as inputs and as destinations of outputs are fetched and uploaded by the resource.": (
            "It needs a server that the resource reaches. IC-SUBMIT-13 sees that an unknown scheme is not dropped."
        ),
        "The base environment is the resource's own.": (
            "What the resource's own is cannot be known: on this machine it may well be the caller's."
        ),
        "JobHandle.resource holds no secret.": (
            "Which of a configuration's values are secret is the plugin's knowledge. IC-SUBMIT-08 looks for the secrets "
            "of copies in the handle."
        ),
        "A secret is on no disk but in its own file, and in no process of any other host.": (
            "IC-SUBMIT-08 looks at the processes, log records, errors and answers that can be seen from here and from "
            "the job."
        ),
        "An output's directory is built aside and renamed into place.": (
            "Nobody can stop a fetch at a chosen moment. IC-OUTPUT-08 sees that nothing aside is left, IC-OUTPUT-17 "
            "that the new one replaces the old one whole."
        ),
        "Only this user's jobs that were submitted with intercede are counted.": (
            "Nobody can submit as somebody else. IC-LOAD sees that what is out is counted, and that the count falls."
        ),
        "ConfigError says what is wrong in the data, which field, and what would do.": (
            "Every backend has options of its own, of which the kit knows nothing but those that it was given."
        ),
        "Credentials come from the CredentialProvider, again when they expire; the caller owns and closes it.": (
            "A run has the credentials that the configuration names, and they outlive it."
        ),
        "Another machine can drive a job by its handle.": ("A run is on one. IC-HANDLE-03 asks in another process."),
        "Hosts and pid namespaces that share a state directory do not take each other's processes for their own.": (
            "A run is in one namespace of one host, and numbers cannot be made to meet. For schedulers, IC-SCHEDULER-10 "
            "and IC-SCHEDULER-11 tell what is made of a number that is another job's."
        ),
        "A process number that the system gave again is not taken for the job that had it.": (
            "Only the system gives numbers. A scheduler's numbers are swapped in recorded answers (IC-SCHEDULER-10)."
        ),
        "A job that is submitted from inside of a job is no part of it, and outlives it.": (
            "The kit does not run on the resource's nodes, where intercede need not be installed. IC-SUBMIT-17 submits with "
            "the variables of a job."
        ),
        "What a job started ends with it on every node.": (
            "IC-KILL-07, IC-KILL-10, IC-KILL-12, IC-STATUS-18 and IC-STATUS-19 look by another job, which sees the processes "
            "of its own node and namespace only."
        ),
    }
)
"""Sentence of the contract -> why it cannot be tested from outside."""
