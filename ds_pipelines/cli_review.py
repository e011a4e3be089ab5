"""`ds-pipelines review`: a person answers for the method of a run.

What belongs here: reading the arguments, asking at a terminal, and printing. What does not: what is asked, and keeping
the answers, which are the lab's.
"""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from ds_pipelines.evidence import Review

MARKS = {"holds": "✓", "violated": "✗", "open": "?"}


def review(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, its first digits, or an experiment.")],
    *,
    answer: Annotated[
        list[str] | None, typer.Option(help="An answer, as key=text; may be given several times.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Sign as this person, once everything is answered.")] = None,
    ask: Annotated[bool, typer.Option(help="Ask for what is open, where there is a terminal.")] = True,
) -> None:
    """List what a run's method takes for granted; answer what is open, and sign.

    Example: ds-pipelines review 8f2c… --answer known_in_time="checked against the ticket's history" --name "Ada Byron"
    """
    from ds_pipelines.gateway.users import of_this_account
    from ds_pipelines.lab.history import opened as history
    from ds_pipelines.lab.review import answered, keep, open_review, sign

    settings = load_settings()
    with history(settings) as known:
        wanted = known.run(run_id).run_id
    opened = open_review(wanted, settings)
    current = answered(opened, _answers(answer or []))
    asking = ask and sys.stdin.isatty() and sys.stdout.isatty() and current.signed_by is None
    _show(current)
    if asking:
        current = answered(current, {key: _asked(current, key) for key in current.unanswered})
        if name is None and not current.unanswered:
            name = typer.prompt("Signed by", default=of_this_account())
    if name is not None:
        current = sign(current, name, settings)
    elif current != opened:
        keep(current, settings)
    typer.echo(_state(current))


def _answers(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if any(not separator for _, separator, _ in pairs):
        raise typer.BadParameter("expected key=text", param_hint="--answer")
    return {key.strip(): text for key, _, text in pairs}


def _asked(current: "Review", key: str) -> str:
    from ds_pipelines.lab.review import SHORTEST_ANSWER

    sentence = next(each.sentence for each in current.assumptions if each.key == key)
    question = f"\n{key}: {sentence}\nWhy does it hold, or why does it not matter?"
    while len(text := str(typer.prompt(question)).strip()) < SHORTEST_ANSWER:
        typer.echo("Say it in a few words, for whoever reads this later.")
    return text


def _show(current: "Review") -> None:
    typer.echo(f"Run {current.run_id}: {current.method}\n")
    for each in current.assumptions:
        typer.echo(f"{MARKS[each.standing]} {each.key}: {each.sentence}\n    {each.evidence}")
        if text := current.answers.get(each.key):
            typer.echo(f"    answered: {text}")


def _state(current: "Review") -> str:
    if current.signed_by is not None:
        return f"\nSigned by {current.signed_by} at {current.signed_at:%Y-%m-%d %H:%M %Z}."
    if current.unanswered:
        return f'\nTo answer, by --answer key="…": {", ".join(current.unanswered)}.'
    return "\nEverything is answered; sign it with --name."
