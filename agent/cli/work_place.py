"""Where a command does its work: `--jobs` and `--cluster`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from agent.cluster.open_hands import WorkPlace

CLUSTER = "--cluster"


def choose_work_place(jobs: int | None, cluster: str | None) -> "WorkPlace":
    """Return where work is done, one process of this machine unless something else is wanted."""
    from agent.cluster.open_hands import WorkPlace

    return WorkPlace(jobs or int(cluster is None), cluster, _say_trouble)


def complete_cluster_option(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command with "local" behind each `--cluster` that no address follows.

    So `--cluster archive/` starts Ray on this machine, and archive/ is what it analyses.
    """
    completed: list[str] = []
    for argument, following in zip(arguments, [*arguments, ""][1:], strict=True):
        completed.append(argument)
        if argument == CLUSTER:
            from agent.cluster.ray_session import LOCAL, is_cluster_address

            if not is_cluster_address(following):
                completed.append(LOCAL)
    return completed


def _say_trouble(text: str) -> None:
    typer.echo(f"ecg-agent: {text}", err=True)
