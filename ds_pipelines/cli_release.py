"""The commands `ds-pipelines release …`: how what works gets into production, and out of it again.

What belongs here: reading the arguments, and printing what came of them. What does not: any decision (`release`).
"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ds_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from ds_pipelines.release.identity import Identity, Scope
    from ds_pipelines.release.manifest import ReleaseManifest
    from ds_pipelines.scoring.job import ScoringJob

release = typer.Typer(help="From a run to what production scores with, step by step, and back.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A scoring job, for its newest release; or the name of a manifest.")
]
Job = Annotated[str, typer.Argument(metavar="NAME", help="The scoring job.")]
Because = Annotated[str, typer.Option(help="Why; it stays in the ledger.")]
TokenFile = Annotated[Path | None, typer.Option(help="File with your token; by default DS_RELEASE_TOKEN.")]


@release.command()
def propose(
    run_id: Annotated[
        str | None, typer.Argument(help="MLflow's id of the run; none for a job without a model.")
    ] = None,
    job: Annotated[
        str | None, typer.Option(help="The scoring job; by default the one named as the experiment.")
    ] = None,
    token_file: TokenFile = None,
) -> None:
    """Offer a run to production by a manifest, once its verdict, review and reproduction hold.

    Example: ds-pipelines release propose 8f2c… ; ds-pipelines release propose --job top_sellers
    """
    from ds_pipelines.production.jobs import find
    from ds_pipelines.release import propose as room

    settings = load_settings()
    if run_id is None and job is None:
        raise typer.BadParameter("name a run, or with --job a job that needs no model", param_hint="RUN_ID")
    who = _who("release:propose", settings, token_file)
    if run_id is None:
        path = room.propose_computation(find(job or ""), settings, by=who.user)
    else:
        path = room.propose(run_id, find(job or room.experiment_of(run_id, settings)), settings, by=who.user)
    typer.echo(f"Review and commit {path}\nNext: ds-pipelines release accept {path.stem}")


@release.command()
def approve(
    name: Name, because: Annotated[str, typer.Option(help="What for; it stays in the ledger.")] = "",
    token_file: TokenFile = None,
) -> None:  # fmt: skip
    """Approve what the gates let through; another person than its authors does.

    Example: ds-pipelines release approve repurchase --because "the review and the gates convince me"
    """
    from ds_pipelines.release import approval

    settings = load_settings()
    manifest, _ = _named(name, settings)
    entry = approval.approve(manifest, _who("release:approve", settings, token_file), settings, because=because)
    typer.echo(f"{_short(manifest)} is approved by {entry.actor}\nNext: ds-pipelines release deploy {_short(manifest)}")


@release.command()
def reject(name: Name, because: Because, token_file: TokenFile = None) -> None:
    """Reject a release, for a reason; earlier acceptances and approvals of it no longer stand.

    Example: ds-pipelines release reject repurchase --because "the feature of last logins is not known in time"
    """
    from ds_pipelines.release import approval

    settings = load_settings()
    manifest, _ = _named(name, settings)
    entry = approval.reject(manifest, _who("release:approve", settings, token_file), settings, because=because)
    typer.echo(f"{_short(manifest)} is rejected by {entry.actor}")


@release.command()
def waive(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A release, or a run, or a job without a model, to be offered.")
    ],
    gate: Annotated[str, typer.Option(help="Of a release a gate; of a run or a job what it lacks to be offered.")],
    because: Because,
    job: Annotated[str | None, typer.Option(help="Of a run: the scoring job.")] = None,
    token_file: TokenFile = None,
) -> None:
    """Set one gate or condition aside, for a reason; another person than the authors does.

    A run or a job can be offered without verdict, review, reproduction or independent; a release be accepted without
    backtest or budget. Nothing else can be waived.

    Example: ds-pipelines release waive repurchase --gate backtest --because "the champion learned from wrong prices"
    """
    from ds_pipelines.production.jobs import JOBS, find
    from ds_pipelines.release import approval, waivers

    settings = load_settings()
    who = _who("release:approve", settings, token_file)
    if gate not in waivers.GATES:
        scoring_job = find(job or name).name
        approval.waive_condition(name, scoring_job, gate, who, settings, because=because)
        typer.echo(f"{gate} of {name} is waived by {who.user}; propose it again")
        return
    manifest, _ = _named(name, settings)
    approval.waive(manifest, gate, who, settings, because=because)
    known = "" if manifest.name in JOBS else f", of a job that is not there: {manifest.name}"
    typer.echo(f"{gate} of {_short(manifest)} is waived by {who.user}{known}; take it through the gates again")


@release.command()
def deploy(name: Name, token_file: TokenFile = None) -> None:
    """Take an approved release into production's registry, signed; it is the champion then.

    Example: ds-pipelines release deploy repurchase
    """
    from ds_pipelines.release import approval

    settings = load_settings()
    manifest, job = _named(name, settings)
    champion = approval.deploy(manifest, job, _who("release:deploy", settings, token_file), settings)
    typer.echo(f"{manifest.name} scores with release {champion.digest[:12]} now")


@release.command()
def rollback(
    name: Job,
    because: Because,
    to: Annotated[
        str | None, typer.Option(help="Digest of the release, or its beginning; by default the champion before.")
    ] = None,
    scores: Annotated[
        bool, typer.Option("--scores", help="Also what consumers see of the days that were scored since.")
    ] = False,
    token_file: TokenFile = None,
) -> None:
    """Go back to an earlier champion: its model, features and settings and, if asked, its scores.

    Example: ds-pipelines release rollback repurchase --scores --because "it ranks business customers last"
    """
    from ds_pipelines.production.jobs import find
    from ds_pipelines.release import rollback as room

    settings = load_settings()
    who = _who("release:deploy", settings, token_file)
    done = room.rollback(find(name), who, settings, because=because, to=to, scores=scores)
    typer.echo(f"{name} scores with release {done.champion.digest[:12]} now")
    if scores:
        typer.echo(
            f"{len(done.restored)} days show its scores of then again, {len(done.scored)} were scored with it now"
        )


@release.command()
def retire(name: Job, because: Because, token_file: TokenFile = None) -> None:
    """Take a job's release out of use; the job delivers nothing until another is in use.

    Example: ds-pipelines release retire repurchase --because "the newsletter is discontinued"
    """
    from ds_pipelines.production.jobs import find
    from ds_pipelines.release import approval

    settings = load_settings()
    approval.retire(find(name), _who("release:deploy", settings, token_file), settings, because=because)
    typer.echo(f"No release of {name} is in use now")


@release.command()
def history(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only of this scoring job.")] = None,
    on: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Say what was champion that day.")] = None,
) -> None:
    """Verify the ledger and print it, the newest last; or say what was champion on a day.

    Example: ds-pipelines release history --on 2026-03-01
    """
    from ds_pipelines.production.jobs import JOBS, find
    from ds_pipelines.release import history as room

    settings = load_settings()
    if on is None:
        for entry in room.history(settings, name):
            typer.echo(room.told(entry, settings))
        return
    for found in room.champions_on(on.date(), settings, JOBS if name is None else [find(name).name]):
        known = room.told(found.entry, settings).strip() if found.entry else "no release was in use"
        typer.echo(f"{found.job} at the end of {on:%Y-%m-%d}: {known}")


def _who(scope: "Scope", settings: Settings, token_file: Path | None) -> "Identity":
    from ds_pipelines.release.identity import identify

    return identify(scope, settings, token_file)


def _named(name: str, settings: Settings) -> tuple["ReleaseManifest", "ScoringJob"]:
    """The release that a person names, and production's job of it."""
    from ds_pipelines.production.jobs import find
    from ds_pipelines.release import manifest as manifests

    manifest = manifests.load(manifests.find(name, settings.releases))
    return manifest, find(manifest.name)


def _short(manifest: "ReleaseManifest") -> str:
    return manifest.file_name.removesuffix(".yaml")
