"""Everything that keeps the project honest, one session each; ``nox -l`` lists them."""

import nox

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
EXTRAS = ".[docker,examples,compressed]"


def _install(session: nox.Session) -> None:
    session.run_install("python", "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1", silent=True)
    session.run_install("python", "-m", "pip", "install", "--quiet", "-e", EXTRAS, "--group", "dev", silent=True)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The whole test suite, slow tests included, on every Python that is here."""
    _install(session)
    session.run("pytest", *session.posargs)


@nox.session(python="3.11")
def minimums(session: nox.Session) -> None:
    """The fast tests against the oldest versions of every dependency that the project file allows."""
    session.run_install("python", "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1", silent=True)
    project = nox.project.load_toml("pyproject.toml")["project"]
    oldest = [line.replace(">=", "==") for line in project["dependencies"]]
    oldest += [
        line.replace(">=", "==") for extra in ("docker", "examples") for line in project["optional-dependencies"][extra]
    ]
    session.install("-e", ".", *oldest, "hypothesis", "pytest", "pytest-xdist", "online-fdr", "ville", "zstandard")
    session.run("pytest", "-m", "not slow", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, all rules but a short list with reasons."""
    session.install("ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    _install(session)
    session.run("mypy")


@nox.session
def specs(session: nox.Session) -> None:
    """The project's own eval specs: what it claims about itself."""
    _install(session)
    session.run("pytest", "specs", *session.posargs)


@nox.session
def redteam(session: nox.Session) -> None:
    """The sandbox's case × backend table, with the reason of every cell that is not capped."""
    _install(session)
    session.run("python", "-m", "evalkit.bench.redteam", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Figures: ``nox -s bench -- NAME`` prints a table and writes ``build/bench/NAME.json``."""
    _install(session)
    session.run("python", "-m", "evalkit.bench", *session.posargs)
