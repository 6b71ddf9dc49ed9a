"""``evalkit replay N``: decide an experiment again."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.cli.common import contract_options, end, load, open_ledger, print_json

__all__ = ["command"]


@click.command(name="replay")
@click.argument("experiment", type=click.IntRange(1))
@contract_options
@click.option("--rerun", is_flag=True, help="From new trials with fresh seeds, instead of the recorded ones.")
def command(experiment: int, file: Path | None, profile: str, as_json: bool, rerun: bool) -> None:
    """Decide an experiment again from its record: byte for byte what the ledger says, or the difference.

    With --rerun the same trees are measured again; the new verdict is printed and changes nothing.
    """
    from evalkit.verify.replay import replay, rerun_course, story_of  # noqa: PLC0415 - loads late

    contract, ledger = open_ledger(file, profile)
    with ledger:
        story = story_of(ledger.by_experiment(experiment), experiment)
    if not rerun:
        result = replay(story)
        if as_json:
            print_json(
                "replay", {"experiment": experiment, "same": result.same, "differences": list(result.differences)}
            )
        else:
            click.echo(
                f"experiment {experiment}: {'the same verdict, byte for byte' if result.same else 'NOT the same'}"
            )
            for line in result.differences:
                click.echo(f"  {line}")
        end(0 if result.same else 1)
    from evalkit.report.live import Live  # noqa: PLC0415
    from evalkit.verify.workbench import Workbench  # noqa: PLC0415

    del contract
    with Workbench.open(load(file, profile)) as bench, Live(bench, quiet=as_json) as live:
        conclusion = rerun_course(bench, story, progress=live.rerunning)
    was = story.decided["decision"] if story.decided else "open"
    if as_json:
        print_json("rerun", {"experiment": experiment, "was": was, "decision": str(conclusion.decision),
                             "reason": str(conclusion.reason), "sentence": conclusion.sentence})  # fmt: skip
    else:
        click.echo(
            f"experiment {experiment} was {was}; measured again it is {conclusion.decision} ({conclusion.reason})"
        )
        click.echo(f"  {conclusion.sentence}")
    end(conclusion.decision.exit_code)
