"""What each verb does, and what it says of it."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from purejaxrl.cli import parsing
from purejaxrl.cli.verbs import (
    BenchDeepsea,
    BenchExploration,
    BenchMinigrid,
    BenchProfile,
    BenchSpeed,
    Diagnose,
    Eval,
    List,
    Report,
    Resume,
    Sweep,
    Train,
)

if TYPE_CHECKING:
    from rich.console import Console

    from purejaxrl.progress import Progress
    from purejaxrl.runs import Interrupt


def _train(command: Train) -> None:
    from purejaxrl import runs, trackers, training

    config = runs.Config(
        env=command.env,
        algo=command.algo,
        bonus=command.bonus,
        total_steps=command.total_steps,
        num_envs=command.num_envs,
        seeds=command.seeds,
        seed=command.seed,
        visits=command.visits,
        save_seconds=command.save_seconds,
        keep=command.keep,
        if_diverged=command.if_diverged,
        **{f"{kind}_settings": settings for kind, settings in parsing.chosen(command).items()},
    )
    progress = _progress(command)
    with _folder(command.out, f"{command.env}-{command.algo}-{command.bonus}") as out:
        summary = training.run(config, out, progress, trackers.make(command.log, out))
    _end(command, out, summary, progress)


def _resume(command: Resume) -> None:
    from purejaxrl import trackers, training
    from purejaxrl.types import SettingError

    if (command.run / "sweep.json").exists():
        raise SettingError(f"{command.run} is a sweep's folder: `purejaxrl sweep` as before with this --out goes on")
    progress, log = _progress(command), trackers.make(command.log, command.run)
    summary = training.resume(command.run, progress, log, total_steps=command.total_steps)
    _end(command, command.run, summary, progress)


def _progress(command: Any) -> Progress:
    from purejaxrl.progress import Progress
    from purejaxrl.types import check_number

    check_number(command.stall_minutes, "stall_minutes", ge=0)
    # An engine's queue may take days: nothing hangs then.
    stall_minutes = 0.0 if getattr(command, "on", None) else command.stall_minutes
    return Progress(stall_minutes=stall_minutes, quiet=command.quiet)


def _print_json(content: Any) -> None:
    from purejaxrl import runs

    print(json.dumps(runs.plain(content), indent=2, allow_nan=False))


def _end(command: Any, out: Path, summary: dict[str, Any], progress: Progress) -> None:
    """Say what came of a run, and exit with what its end means."""
    from purejaxrl import runs

    say = progress.say if command.json else progress.warn  # quiet or not, the result is told
    if command.json:
        _print_json({"out": str(out), **summary})
    final, seeds = summary["final_return_mean"], summary["seeds"]
    shown = "no episode ended in the last tenth" if final is None else f"mean final return {final:.4g}"
    silent = sum(not math.isfinite(value) for value in summary["final_return_per_seed"])
    if silent and final is not None:
        shown += f" ({silent} without one: no episode ended in the last tenth, or it diverged)"
    say(
        f"{out}: {shown} over {seeds} seed{'s' * (seeds > 1)}, {summary['env_steps']:,} steps each, "
        f"{summary['steps_per_second']:,.0f} steps/s, {summary['run_seconds']:.1f} s after "
        f"{summary['compile_seconds']:.1f} s of compiling"
    )
    if not summary["interrupted"]:
        progress.say(f"`purejaxrl report {shlex.quote(str(out))}` draws it")
        return
    if summary["signal"] is None:
        saved = "the last checkpoint before it stays" if runs.checkpoints(out) else "no checkpoint had been saved yet"
        progress.warn(
            f"diverged: {saved}; lower --algo.learning-rate or --algo.max-grad-norm, "
            "or look at the environment's rewards and observations"
        )
        sys.exit(3)
    progress.warn(f"interrupted after {summary['updates']} updates: `purejaxrl resume {shlex.quote(str(out))}` goes on")
    sys.exit(_code(summary["signal"]))


def _code(signal: str | None) -> int:
    """Of what was saved at this signal: SIGTERM is how machines are taken away, and no fault."""
    return 0 if signal == "SIGTERM" else 130


def _sweep(command: Sweep) -> None:
    from purejaxrl import envs, processes, runs, search, sweeps, trackers
    from purejaxrl.types import SettingError

    for name, partner in {"workers": "on", "batch": "sampler", "keep": "rungs", "search_seed": "samples"}.items():
        if getattr(command, name) != getattr(Sweep, name) and not getattr(command, partner):
            raise SettingError(f"{name} is of no use without {partner}: give --{partner}, too, or leave it out")
    chosen, constructor = parsing.chosen(command), parsing.constructor(command)
    fields = [search.parse(text) for text in command.search]
    names = [name for name, _ in fields]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingError(f"search: {twice[0]} stands there twice; list all its values once")
    # What follows from a constructor's argument must not be pinned where that argument is searched.
    defaults = envs.settings(command.env, **constructor)
    differing = {name: value for name, value in chosen["env"].items() if value != defaults[name]}
    first = processes.is_first()
    progress = _progress(command) if first else None
    training = functools.partial(
        sweeps.sweep,
        command.env,
        runs.make_learner(command.algo, chosen["algo"]),
        bonus=runs.make_bonus(command.bonus, chosen["bonus"]),
        env_settings=constructor | differing,
        seeds=command.seeds,
        num_envs=command.num_envs,
        total_steps=command.total_steps,
        search=dict(fields),
        samples=command.samples,
        search_seed=command.search_seed,
        sampler=command.sampler,
        batch=command.batch,
        objectives=command.objectives,
        rungs=command.rungs,
        keep=command.keep,
        visits=command.visits,
        num_lanes=command.num_lanes,
        memory_gb=command.memory_gb,
        on=command.on,
        workers=command.workers,
        progress=progress,
    )
    with _folder(command.out, f"sweep-{command.env}-{command.algo}-{command.bonus}") as out:
        found = training(out=out, trackers=trackers.make(command.log, out) if first else ())
    if progress is None:
        sys.exit(0 if found.complete else _code(found.signal))
    try:
        _show_sweep(found, out, command)
    except SettingError as error:  # no run has a value of what was asked for
        progress.warn(str(error))
    progress.say(
        f"{out}: {found.frame.groupby(['config_id', 'seed']).ngroups} runs; `purejaxrl report {shlex.quote(str(out))}` "
        f"draws them, purejaxrl.load({str(out)!r}) reads them"
    )
    if not found.complete:
        progress.warn("interrupted: the same command with this --out goes on")
        sys.exit(_code(found.signal))
    if found.runs()["diverged"].notna().all():
        progress.warn("all of them diverged")
        sys.exit(3)


def _show_sweep(found: Any, out: Path, command: Sweep) -> None:
    """Print what is best: by the objectives, where there are some, and else by the final return.

    Raises:
      SettingError: where no run has a value of one of them.
    """
    objectives = () if command.objectives == Sweep.objectives else command.objectives
    find = functools.partial(found.pareto, *objectives) if objectives else found.best
    if command.json:
        content: dict[str, Any] = {"out": str(out), "complete": found.complete}
        try:
            content["best"] = find().to_dict("records")
            content |= {} if objectives else {"importance": found.importance().to_dict()}
        finally:
            _print_json(content)
        return
    best = find()
    if objectives:
        title = f"{len(best)} configuration{'s' * (len(best) > 1)} that no other beats: means over seeds"
        _show_table(title, best)
        return
    numbers = best[["final_return", "low", "high"]].round(6) + 0.0
    interval = [f"[{_short(low)}, {_short(high)}]" for low, high in numbers[["low", "high"]].to_numpy()]
    interval = ["–" if seeds == 1 else shown for seeds, shown in zip(best["seeds"], interval, strict=True)]
    best = best.assign(final_return=numbers["final_return"], low=interval).drop(columns="high")
    title = f"the best {len(best)} configurations: mean final return over seeds [95 % interval]"
    _show_table(title, best.rename(columns={"final_return": "return", "low": "interval"}))
    shares = found.importance().items()  # NaN where it cannot be told from chance
    known = ", ".join(f"{name} {'unknown' if math.isnan(share) else f'{share:.0%}'}" for name, share in shares)
    line = f"variance explained by each field alone, less what chance explains: {known}"
    _stdout().print(line, highlight=False, soft_wrap=True)


def _show_table(title: str, rows: Any) -> None:
    """Configurations as a table; `diverged` only where a run has."""
    from rich.table import Table

    rows = rows.rename(columns={"config_id": "config"})
    if not rows["diverged"].any():
        rows = rows.drop(columns="diverged")
    console, shown = _stdout(), Table(box=None, padding=(0, 2, 0, 0))
    console.print(title, highlight=False)
    for column in rows.columns:
        shown.add_column(column, justify="right", overflow="fold")
    for row in rows.to_dict("records"):
        shown.add_row(*map(_short, row.values()))
    console.print(shown)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@contextlib.contextmanager
def _folder(given: Path | None, name: str) -> Iterator[Path]:
    """The folder given, or the next of this name in `runs`; a new one is gone again where nothing came to be in it."""
    from purejaxrl import processes

    is_new = given is None or not given.exists()
    folder = given or Path(processes.from_first(lambda: str(_new_folder(name))))
    try:
        yield folder
    finally:
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()
                if given is None:
                    folder.parent.rmdir()


def _new_folder(name: str) -> Path:
    """Made at once, since the same command may start twice at the same time."""
    from purejaxrl.types import SettingError

    above, name = Path("runs"), re.sub(r"[^\w.-]+", "-", name).strip("-")[:100]  # file systems take 255 bytes
    numbers = itertools.count(1)
    try:
        while True:
            above.mkdir(exist_ok=True)
            folder = above / f"{name}-{next(numbers)}"
            with contextlib.suppress(FileExistsError, FileNotFoundError):  # another call may take either, or tidy up
                folder.mkdir()
                return folder
    except OSError as error:
        raise SettingError(f"out: {above.absolute()} cannot be written: {error.strerror}") from None


def _eval(command: Eval) -> None:
    from purejaxrl import gifs, runs
    from purejaxrl.progress import Progress
    from purejaxrl.types import check_int

    check_int(command.episodes, "episodes", ge=1)
    check_int(command.seed, "seed", ge=0)
    if command.gif is not None:
        gifs.check(command.run, command.gif)
    progress = Progress()
    reached = runs.restore(command.run, command.checkpoint, progress.say)
    how: dict[str, Any] = {"seed": command.seed, "greedy": not command.sample}
    table = runs.evaluate(reached, command.episodes, **how)
    if command.json:
        _print_json(table.to_dict("records"))
    else:
        _show_episodes(command, table)
    if command.gif is not None:
        ranked = table.sort_values("mean_return")["seed"].tolist()
        policy = ranked[(len(ranked) - 1) // 2]
        gifs.record(reached, command.gif, progress, policy=policy, **how)


def _show_episodes(command: Eval, table: Any) -> None:
    from rich.table import Table

    shown = Table(title=f"{command.episodes} episodes per seed, {'sampled' if command.sample else 'greedy'} actions")
    for column in table.columns:
        shown.add_column(column.replace("_", " "), justify="right", overflow="fold")
    for row in table.itertuples(index=False):
        shown.add_row(*map(_short, row))
    console = _stdout()
    console.print(shown)
    console.print(f"mean return over seeds: {table['mean_return'].mean():.4g}")


def _report(command: Report) -> None:
    from purejaxrl import report
    from purejaxrl.progress import Progress

    with Progress() as progress:
        path = report.write(command.runs, command.out, title=command.title, films=command.films, progress=progress)
    print(path)
    # Without a screen the module would start a browser for terminals and wait for it.
    if command.open and (sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()):
        import webbrowser

        webbrowser.open(path.absolute().as_uri())


def _diagnose(command: Diagnose) -> None:
    from purejaxrl import diagnosis, envs, presets, report, runs
    from purejaxrl.diagnosis import pages, play
    from purejaxrl.progress import Progress

    settings = parsing.chosen(command)["env"]
    env, env_params = envs.make(command.env, **settings)
    how: dict[str, Any] = {name: getattr(command, name) for name in ("num_envs", "num_steps", "train", "seed")}
    diagnosis.check(env, **how)
    play.check_pure(env, env_params)  # before there is a folder
    flags = report.flags(runs.Config(command.env, "ppo", env_settings=settings), "env")
    opening = " ".join([f"--env {command.env}", *flags])
    with _folder(command.out, f"diagnose-{command.env}") as out:
        pages.prepare(out)
        with Progress() as progress:
            found = diagnosis.diagnose(env, env_params, opening=opening, progress=progress, **how)
        preset, source = presets.flags([], command.env)
        if preset:
            found = found.beside(" ".join(["purejaxrl train", opening, *preset]), source)
        console = _stdout()
        for part in pages.shown(found):
            console.print(part, highlight=False, soft_wrap=isinstance(part, str))
        pages.write(found, out)  # at last: a disk that is full costs the files alone
    progress.say(f"{out / 'diagnosis.png'} has the figure, {out / 'diagnosis.json'} the numbers")


def _bench_profile(command: BenchProfile) -> None:
    from purejaxrl import intrinsic, runs
    from purejaxrl.bench import profile
    from purejaxrl.progress import Progress
    from purejaxrl.train import make_train
    from purejaxrl.types import SettingError

    settings: dict[str, Any] = {f"{kind}_settings": settings for kind, settings in parsing.chosen(command).items()}
    parts = runs.build(runs.Config(env=command.env, algo=command.algo, bonus=command.bonus, **settings))
    total_steps = 1_000_000  # a usual run's: replay memories have its size
    warmup = intrinsic.warmup_steps(parts.bonus)
    most = (total_steps - warmup) // (parts.learner.num_steps + (warmup > 0))  # every env warms up for a step at least
    if 1 <= most < command.num_envs:
        raise SettingError(
            f"num_envs must be <= {most:,} for an update of {parts.learner.num_steps} steps each within the "
            f"{total_steps:,} of the run that is profiled, got {command.num_envs:,}; or lower algo.num_steps"
        )
    train = make_train(
        parts.env,
        parts.learner,
        bonus=parts.bonus,
        env_params=parts.env_params,
        num_envs=command.num_envs,
        total_steps=total_steps,
    )
    with Progress() as progress:
        found = profile.profile(train, progress, updates=command.updates)
    _stdout().print(profile.table(found), *profile.notes(found), sep="\n", highlight=False)


def _bench_speed(command: BenchSpeed) -> None:
    from purejaxrl.bench import speed
    from purejaxrl.progress import Progress

    settings = vars(command).copy()
    least = settings.pop("at_least")
    with Progress() as progress:
        results = speed.run(progress=progress, **settings)
    print(speed.markdown(results))
    for (work, peer), found in speed.ratios(results).items():
        if found < least:
            slow = f"{work}: {found:.2f} times as fast as {peer}, at least {least:g} is asked for"
            print(f"purejaxrl: {slow}", file=sys.stderr)
            sys.exit(1)


def _bench_exploration(command: BenchExploration) -> None:
    from purejaxrl.bench import exploration, tables
    from purejaxrl.progress import Progress

    chosen = {"suite": command.suite, "methods": command.methods, "tasks": command.tasks, "num_seeds": command.seeds}
    progress = Progress()
    results, interrupted = exploration.run(command.out, progress, **chosen)
    if not results.empty and (results["phase"] == "reporting").any():
        print(tables.markdown(results))
        progress.say(f"{command.out / 'report.html'} has the figures")
    _end_bench(interrupted, progress)


def _bench_deepsea(command: BenchDeepsea) -> None:
    from purejaxrl.bench import deep

    _bench_deep(command, deep.deepsea(command.episodes, stochastic=command.stochastic), command.sizes)


def _bench_minigrid(command: BenchMinigrid) -> None:
    from purejaxrl.bench import deep

    _bench_deep(command, deep.minigrid(), command.tasks or tuple(deep.GRIDS))


def _bench_deep(command: Any, study: Any, keys: tuple[Any, ...]) -> None:
    from purejaxrl.bench import deep, deep_figures
    from purejaxrl.progress import Progress

    progress = Progress()
    results, interrupted = deep.run(command.out, progress, study, keys, methods=command.method, num_seeds=command.seeds)
    if not results.empty:
        print(deep_figures.markdown(study.name, results))
    _end_bench(interrupted, progress)


def _end_bench(interrupted: Interrupt, progress: Progress) -> None:
    if interrupted.is_set():
        progress.say("interrupted: the same command goes on")
        sys.exit(_code(interrupted.name))


def _list(command: List) -> None:
    if command.source is not None:
        from purejaxrl import envs
        from purejaxrl.types import SettingError

        if command.what not in (None, "envs"):
            raise SettingError(f"source: {command.what} come from here alone; leave --source out, or list envs")
        print("\n".join(envs.ids(command.source)))
        return
    if command.what == "envs":
        _list_envs(_stdout())
        return
    from rich.table import Table

    from purejaxrl import algos, bonuses, discovery, envs

    console = _stdout()
    for package, title in ((algos, "Algorithms"), (bonuses, "Bonuses")):
        if command.what not in (None, package.__name__.split(".")[-1]):
            continue
        console.print(f"[bold]{title}[/bold]")
        table = Table(box=None, show_header=False, padding=(0, 0, 0, 2))
        for name in discovery.names(package):
            table.add_row(name, (discovery.load(package, name).__doc__ or "").strip().splitlines()[0])
        console.print(table, highlight=False, markup=False)
    if command.what is None:
        console.print("[bold]Environments[/bold]")
        for env_id in envs.ids():
            console.print(f"  {env_id}", highlight=False)
        console.print(f"  {_elsewhere()}", highlight=False)


def _list_envs(console: Console) -> None:
    from rich.table import Table

    from purejaxrl import envs
    from purejaxrl.envs import catalogue

    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("id", "observation", "actions", "steps", "source", "exploring is hard because"):
        table.add_column(title, no_wrap=title != "exploring is hard because")
    for env_id in envs.ids():
        table.add_row(*catalogue.entry(env_id))
    console.print(table, highlight=False, markup=False)
    print(_elsewhere(), file=sys.stderr)  # not into a pipe


def _elsewhere() -> str:
    from purejaxrl.envs import adapters

    return f"other packages': `purejaxrl list envs --source PREFIX`, one of {', '.join(adapters.PREFIXES)}"


def _stdout() -> Console:
    from rich.console import Console

    class Stdout(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # which `main` knows

    console = Stdout()
    if not console.is_terminal:
        console.width = 1000  # into a pipe a row is one whole line
    return console


ACTIONS = {
    "Train": _train,
    "Sweep": _sweep,
    "Resume": _resume,
    "Eval": _eval,
    "Report": _report,
    "Diagnose": _diagnose,
    "BenchExploration": _bench_exploration,
    "BenchDeepsea": _bench_deepsea,
    "BenchMinigrid": _bench_minigrid,
    "BenchSpeed": _bench_speed,
    "BenchProfile": _bench_profile,
    "List": _list,
}
