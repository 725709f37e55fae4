"""The command line: reads options, wires the parts together, and turns errors into one line and an exit code."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from agent import config as configuration
from model.errors import EcgError

app = typer.Typer(help="Streaming edge monitor for ECG. A research tool, not a medical device.", no_args_is_help=True)
config_app = typer.Typer(help="Show the settings.", no_args_is_help=True)
app.add_typer(config_app, name="config")

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="A TOML file whose keys replace those of config.toml.")
]


@config_app.command("show")
def config_show(config: ConfigFile = None) -> None:
    """Print the settings in force, as TOML."""
    typer.echo(configuration.to_toml(configuration.load(config)), nl=False)


@app.command()
def train(
    run: Annotated[Path, typer.Option(help="Folder of the run; an interrupted run in it is continued.")] = Path(
        "runs/train"
    ),
    name: Annotated[str, typer.Option(help="Name of the checkpoint.")] = "reproduction",
    epochs: Annotated[int | None, typer.Option(help="Passes over the training beats.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the initial weights and the order of the beats.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, mps, cuda or cpu.")] = None,
    config: ConfigFile = None,
) -> None:
    """Train the net on the embedded MIT-BIH beats."""
    settings = configuration.override(configuration.load(config), "train", epochs=epochs, seed=seed, device=device)
    from agent.training import show_training

    show_training(settings.train, run, name, shlex.join(["ecg-agent", *sys.argv[1:]]))


def main() -> None:
    """Entry point of `ecg-agent`."""
    try:
        app()
    except EcgError as error:
        typer.echo(f"ecg-agent: {error}", err=True)
        raise SystemExit(error.exit_code) from None
