"""The floor plan: which rooms there are, and that arrows between them run down only."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from support.tools import ROOT

from dicom_sr_node.domain import errors

PACKAGES = ("dicom_sr_node", "model", "training")

LAYERS = [  # of dicom_sr_node, from the top; a room imports from the layers below its own, and what stands beside
    {"__main__"},
    {"cli"},
    {"commands"},
    {"app"},
    {"tools", "web"},
    {"actions", "monitor", "receive", "verify"},
    {"deliver", "work", "audit"},
    {"role", "retention", "commitment", "derive"},
    {"rules", "quality", "store", "network"},
    {"pixels", "spool"},
    {"dicom"},
    {"config"},
    {"runtime"},
    {"domain"},
    {""},
]
BESIDE = {  # arrows within a layer
    ("tools", "web"): False,
    ("actions", "monitor"): False,
    ("deliver", "audit"): True,
    ("web", "monitor"): True,
}
FORBIDDEN = [
    (r"model(\.|$)", r"(dicom_sr_node|training|pydicom|pynetdicom|highdicom|sqlalchemy)(\.|$)"),
    (r"training(\.|$)", r"(dicom_sr_node\.(?!dicom|pixels\.decode)|pynetdicom|highdicom|sqlalchemy)"),
    (r"training\.(?!dicom$)", r"(pydicom|dicom_sr_node)(\.|$)"),
    (r"dicom_sr_node(\.|$)", r"(torch|training)(\.|$)"),
    (r"dicom_sr_node\.receive\.", r"dicom_sr_node\.deliver\."),
    (r"dicom_sr_node\.deliver\.", r"dicom_sr_node\.receive\."),
    (r"dicom_sr_node\.(web|monitor|tools)\.", r"dicom_sr_node\.app(\.|$)"),
    (r"dicom_sr_node\.store\.", r"dicom_sr_node\.domain\.messages"),
    (r"dicom_sr_node\.network\.", r"dicom_sr_node\.rules\."),
    (r"dicom_sr_node\.pixels\.", r"dicom_sr_node\.rules\."),
    (r"dicom_sr_node\.(?!store\.)", r"(sqlalchemy|alembic)(\.|$)(?!exc)"),
    (
        r"dicom_sr_node\.(?!work\.|tools\.|quality$|verify\.|commands\.|actions\.|monitor\.doctor$)",
        r"model(\.|$)",
    ),
]
LIGHT = (
    "serve",
    "receive",
    "deliver",
    "work",
    "reload",
    "status",
    "jobs",
    "echo",
    "send",
    "users",
    "db",
    "config",
    "config_show",
    "fsck",
    "backup",
)


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if "migrations" not in path.parts:
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def named(tree: ast.AST) -> set[str]:
    """Everything that is imported, by its full name."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(name: str) -> set[str]:
    """Files of ours that a file imports: the module itself, where a name is one of its own."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & set(MODULES)) - {name}


ARROWS = {name: files(name) for name in MODULES}


def room(name: str) -> str:
    """A folder or file right below a package."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "dicom_sr_node" else parts[0]


def circles(arrows: dict[str, set[str]]) -> Iterator[list[str]]:
    """One way back to itself for each place that has one."""
    for start in arrows:
        seen, ways = set[str](), [[start]]
        while ways:
            way = ways.pop()
            for place in arrows.get(way[-1], ()):
                if place == start:
                    yield [*way, start]
                    ways = []
                    break
                if place not in seen:
                    seen.add(place)
                    ways.append([*way, place])


def between(place: Iterable[str] = MODULES) -> dict[str, set[str]]:
    rooms: dict[str, set[str]] = {room(name): set() for name in place}
    for name, targets in ARROWS.items():
        rooms[room(name)] |= {room(target) for target in targets} - {room(name)}
    return rooms


def test_no_file_comes_back_to_itself() -> None:
    assert list(circles(ARROWS)) == []


def test_no_room_comes_back_to_itself() -> None:
    assert list(circles(between())) == []


def test_no_two_folders_import_each_other() -> None:
    def folder(name: str) -> str:
        is_package = MODULES[name].name == "__init__.py"
        return name if is_package or name.count(".") == 1 else name.rpartition(".")[0]

    arrows = {(folder(name), folder(target)) for name, targets in ARROWS.items() for target in targets}
    assert {(a, b) for a, b in arrows if a < b and (b, a) in arrows} == set()


def test_there_are_few_rooms() -> None:
    rooms = {name for name in between() if name.startswith("dicom_sr_node")}
    assert len(rooms) <= 30, sorted(rooms)


def test_arrows_between_rooms_run_down() -> None:
    """Rooms of one layer do not know each other, unless it is said above."""
    height = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    wrong = []
    for source, targets in between().items():
        if not source.startswith("dicom_sr_node"):
            continue
        here = source.partition(".")[2]
        for target in targets:
            there = target.partition(".")[2]
            if target.startswith("dicom_sr_node") and height[there] <= height[here] and not BESIDE.get((here, there)):
                wrong.append((here, there))
    assert wrong == []


@pytest.mark.parametrize(("who", "whom"), FORBIDDEN)
def test_no_arrow_goes_the_wrong_way(who: str, whom: str) -> None:
    subject = [name for name in MODULES if re.match(who, name)]
    assert subject, f"no module matches {who}"
    allowed = {"sqlalchemy.exc", "sqlalchemy.exc.SQLAlchemyError"}
    wrong = {
        name: sorted(target for target in named(TREES[name]) if re.match(whom, target) and target not in allowed)
        for name in subject
    }
    assert not {name: targets for name, targets in wrong.items() if targets}


def test_light_commands_never_import_torch() -> None:
    """What the modules of a command import, all the way down."""
    heavy = {name for name, tree in TREES.items() if named(tree) & {"torch", "highdicom"}}
    for command in LIGHT:
        reached, todo = set[str](), [f"dicom_sr_node.commands.{command}"]
        while todo:
            name = todo.pop()
            if name not in reached:
                reached.add(name)
                todo += ARROWS[name] - {"dicom_sr_node.work.inference"}  # imported by the child process alone
        assert not reached & heavy, (command, sorted(reached & heavy))


def test_imports_stand_at_the_top() -> None:
    inside = {
        name
        for name, tree in TREES.items()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert inside == {"dicom_sr_node.work.supervisor"}  # whose child process loads torch, and it does not


def test_class_names_are_unique() -> None:
    counts = Counter(node.name for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert [name for name, count in counts.items() if count > 1 and not name.startswith("_")] == []


def test_every_package_is_listed_for_installation() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for path in ROOT.glob("*/**/__init__.py"):
        package = ".".join(path.parent.relative_to(ROOT).parts)
        if package.split(".")[0] in PACKAGES:
            assert f'"{package}"' in text, package


BROAD = {  # how many excepts of a file catch everything, and why any fault has an end there
    "dicom_sr_node.cli": 1,  # ends the process without a traceback, which may quote a patient
    "dicom_sr_node.network.guard": 3,  # ends one association
    "dicom_sr_node.network.requests": 1,  # ends one connection
    "dicom_sr_node.pixels.sandbox": 1,  # whatever a damaged file makes a library raise is one image's end
    "dicom_sr_node.receive.scp": 4,  # a fault of ours is not told as a fault of the image; one cleans up
    "dicom_sr_node.runtime.loop": 1,  # carries a thread's fault to where it ends the process
    "dicom_sr_node.spool": 2,  # cleans up and raises again
    "dicom_sr_node.tools.upscale": 1,  # a bad file never ends the others
    "dicom_sr_node.web.site": 1,  # a fault of ours is one answer, 500, and a line in the log
    "dicom_sr_node.work.inference": 1,  # becomes a failed try
    "dicom_sr_node.work.supervisor": 1,  # an answer that cannot be written down is one image's end
    "model.checkpoint": 1,  # safetensors and torch raise many kinds; all mean the same
    "model.vgg": 1,  # whatever a foreign file makes torch raise
    "training.dicom": 1,  # reading the image will say what is wrong
    "training.images": 1,  # each codec raises its own kinds; all mean that the file cannot be used
    "training.run": 1,  # torch raises many kinds for a damaged file
}


def test_broad_excepts_stand_only_where_any_fault_has_an_end() -> None:
    counts = Counter(
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or {"Exception", "BaseException"} & names_in(node.type))
    )
    assert dict(counts) == BROAD


def names_in(node: ast.expr) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    """Each line of the module's docstring is a class, as deep as it stands there, and none is missing."""
    drawn = {
        match[2]: len(match[1]) // 2
        for line in (errors.__doc__ or "").splitlines()
        if (match := re.match(r"^( *)[*+x.-] (\w+)", line))
    }
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    root = min(len(kind.__mro__) for kind in kinds)
    assert drawn == {kind.__name__: len(kind.__mro__) - root for kind in kinds}


def test_what_is_retryable_is_drawn_so() -> None:
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^ *[*+x.-] (\w+)", line):
            assert getattr(errors, match[1]).retryable == ("(retryable" in line), line
