"""The console script: all commands, and how errors end it."""

from __future__ import annotations

import gc
import sys
from typing import Annotated

import typer

from pdd_ray.cli import config, doctor, plots, report, results, run, status, tensorboard
from pdd_ray.cli.messages import complain
from pdd_ray.core.errors import PddError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
NEW_OBJECTS = 20_000
"""New objects after which Python looks for cycles. With its usual 700, a fifth of the time of a
command on a sweep of 10,000 steps went into looking at plans that stay until the end."""

app = typer.Typer(
    name="pdd-ray",
    help="Progressive dataset distillation on Ray: run a sweep, run it again, see what it shows.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run.demo)
app.command("run")(run.run_sweep)
app.command()(run.plan)
app.command("status")(status.show_status)
app.command()(status.logs)
app.command()(results.table)
app.command()(plots.plot)
app.command()(results.images)
app.command()(report.report)
app.command("tb")(tensorboard.start)
app.command("doctor")(doctor.check)
app.add_typer(config.app, name="config")


def _show_version(wanted: bool) -> None:
    if wanted:
        from pdd_ray import __version__

        typer.echo(f"pdd-ray {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    _version: Annotated[
        bool | None,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = None,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command line ``arguments`` (default: those of the process) and exit.

    An error that a user can do something about is printed as lines, without a traceback; any
    other one is a defect and keeps its traceback.
    """
    gc.set_threshold(NEW_OBJECTS)
    try:
        app(args=arguments, prog_name="pdd-ray")
    except PddError as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
