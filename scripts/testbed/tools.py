"""Tools from PyPI and npm, in pinned versions, installed below `target`."""

from testbed import TARGET, output


def python_environment(name, *requirements):
    """Installs packages into a virtual environment and returns its folder of programs."""
    programs = TARGET / name / "bin"
    stamp = TARGET / name / "requirements"
    if not stamp.exists() or stamp.read_text() != repr(requirements):
        output(["python3", "-m", "venv", "--clear", str(TARGET / name)])
        pip = [str(programs / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        output([*pip, *requirements])
        stamp.write_text(repr(requirements))
    return programs


def node_modules(name, *packages):
    """Installs npm packages and returns the folder `node_modules`."""
    folder = TARGET / name
    stamp = folder / "packages"
    if not stamp.exists() or stamp.read_text() != repr(packages):
        folder.mkdir(parents=True, exist_ok=True)
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", f"--prefix={folder}"]
        output([*npm, *packages])
        stamp.write_text(repr(packages))
    return folder / "node_modules"
