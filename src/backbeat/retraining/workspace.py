"""The git worktree that a retraining works in, so that the user's files stay as they are until all is decided.

It has the commits, the pipeline and the DVC settings of the checkout, and shares its cache; DVC's locks and notes are
its own. Sources of corpora that neither git nor DVC keeps are linked in.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from backbeat.corpus.annotated import place
from backbeat.errors import RetrainingError
from backbeat.retraining.commands import agrees, ask

#: Without the user's hooks: they are for people, and may ask for something.
GIT = ("git", "-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false", "-c", "tag.gpgSign=false")
PARAMS = "params.yaml"
LOCK = "dvc.lock"


def checkout_root(folder: Path) -> Path:
    """Return the root of the checkout that `folder` is in; RetrainingError where it is none that git and DVC know."""
    root = Path(ask((*GIT, "rev-parse", "--show-toplevel"), folder)).resolve()
    if not (root / ".dvc").is_dir() or not (root / PARAMS).is_file():
        raise RetrainingError(f"{root}: is no pipeline: .dvc and {PARAMS} are in a checkout of the repository")
    return root


class Workspace:
    """The worktree of one run.

    Parameters
    ----------
    root
        The checkout.
    tree
        Where the worktree is to be.
    environment
        Of git and DVC.
    """

    def __init__(self, root: Path, tree: Path, environment: Mapping[str, str]) -> None:
        self.root = root
        self.tree = tree
        self.environment = environment

    def git(self, *arguments: str) -> str:
        """Ask git in the worktree."""
        return ask((*GIT, *arguments), self.tree, self.environment)

    def git_here(self, *arguments: str) -> str:
        """Ask git in the checkout."""
        return ask((*GIT, *arguments), self.root, self.environment)

    @property
    def there(self) -> bool:
        """Whether the worktree is there."""
        return (self.tree / ".git").is_file()

    def make(self, base: str) -> None:
        """Make the worktree at a commit, anew."""
        shutil.rmtree(self.tree, ignore_errors=True)
        # Twice: one whose making was killed is locked.
        self.git_here("worktree", "add", "--quiet", "--force", "--force", "--detach", str(self.tree), base)
        self._configure_dvc()
        for source in self._sources():
            self._lend(source)

    def remove(self) -> None:
        """Remove the worktree, if it is there."""
        if f"worktree {self.tree}" in self.git_here("worktree", "list", "--porcelain").splitlines():
            with suppress(RetrainingError):
                self.git_here("worktree", "remove", "--force", "--force", str(self.tree))
        shutil.rmtree(self.tree, ignore_errors=True)

    def unlock(self) -> None:
        """Remove the locks that killed programs have left in the worktree; nobody else works in it."""
        for lock in Path(self.git("rev-parse", "--absolute-git-dir")).glob("*.lock"):
            lock.unlink()
        # DVC takes a process for alive that was killed and that nobody has asked how it ended, as in many a container.
        (self.tree / ".dvc" / "tmp" / "rwlock").unlink(missing_ok=True)

    def stages(self) -> set[str]:
        """Return the names of the pipeline's stages."""
        return set(yaml.safe_load((self.tree / "dvc.yaml").read_text(encoding="utf-8"))["stages"])

    def params(self) -> dict[str, Any]:
        """Return what `params.yaml` has."""
        found: dict[str, Any] = yaml.safe_load((self.tree / PARAMS).read_text(encoding="utf-8"))
        return found

    def remote(self) -> bool:
        """Tell whether DVC has a remote to pull from."""
        from dvc.config import Config

        return bool(Config(str(self.tree / ".dvc"))["core"].get("remote"))

    def cache(self) -> Path:
        """Return the folder of DVC's cache."""
        from dvc.config import Config

        return Path(Config(str(self.root / ".dvc")).get("cache", {}).get("dir") or self.root / ".dvc" / "cache")

    def has_changes(self) -> bool:
        """Tell whether something is staged in the worktree."""
        return not agrees((*GIT, "diff", "--cached", "--quiet"), self.tree)

    def commit(self, message: str, at: str) -> str:
        """Commit everything that git follows and DVC's pointers; return the commit, the present one without changes.

        Parameters
        ----------
        at
            The time that it bears (ISO 8601): the same content at the same time is the same commit, whenever made.
        """
        self.git("add", "--update")
        pointers = [LOCK, "data/.gitignore", *(f"data/{path.name}" for path in (self.tree / "data").glob("*.dvc"))]
        if found := [name for name in pointers if (self.tree / name).is_file()]:
            self.git("add", "--", *found)
        if self.has_changes():
            dated = {**self.environment, "GIT_AUTHOR_DATE": at, "GIT_COMMITTER_DATE": at}
            ask((*GIT, *self._identity(), "commit", "--quiet", "--message", message), self.tree, dated)
        return self.git("rev-parse", "HEAD")

    def name(self, ref: str, commit: str) -> bool:
        """Give a commit a name ("refs/tags/..."); False when it is another's already, which then keeps it."""
        found = agrees((*GIT, "rev-parse", "--quiet", "--verify", ref), self.root)
        if found:
            return self.git_here("rev-parse", f"{ref}^{{commit}}") == commit
        # What a killed git has left; these names are given by one retraining at a time.
        Path(self.root, self.git_here("rev-parse", "--git-common-dir"), f"{ref}.lock").unlink(missing_ok=True)
        self.git_here("update-ref", ref, commit, "")
        return True

    def forward(self, base: str, result: str) -> str:
        """Bring the checkout from `base` to `result`; return why it was left as it is, "" when it was not.

        One that was killed while it was brought there has changes, which are those of the result: they do not hinder.
        """
        if self.git_here("rev-parse", "HEAD") == result:
            return ""
        if self.git_here("rev-parse", "HEAD") != base:
            return "the checkout has moved on meanwhile"
        if not agrees((*GIT, "symbolic-ref", "--quiet", "HEAD"), self.root):
            return "the checkout is on no branch"
        changed = self.git_here("diff", "--name-only", "HEAD").splitlines()
        as_result = [name for name in changed if agrees((*GIT, "diff", "--quiet", result, "--", name), self.root)]
        if len(as_result) < len(changed):
            return "the checkout has changes that are not committed"
        try:
            if as_result:
                self.git_here("checkout", "--quiet", "HEAD", "--", *as_result)
            self.git_here("merge", "--quiet", "--ff-only", result)
        except RetrainingError as error:
            return str(error)
        return ""

    def _identity(self) -> tuple[str, ...]:
        if agrees((*GIT, "var", "GIT_COMMITTER_IDENT"), self.tree):
            return ()
        return ("-c", "user.name=Backbeat retraining", "-c", "user.email=retraining@localhost")

    def _configure_dvc(self) -> None:
        """Give DVC in the worktree the cache, the remotes and the secrets of the checkout."""
        from dvc.config import Config

        theirs = Config(str(self.root / ".dvc"))
        with Config(str(self.tree / ".dvc")).edit("local") as ours:
            # With paths resolved: those of a file of settings are relative to it.
            ours["remote"] = {name: dict(remote) for name, remote in theirs.get("remote", {}).items()}
            ours["cache"] = {**theirs.get("cache", {}), "dir": str(self.cache())}
            if not theirs.get("cache", {}).get("type"):
                # The outputs need no place of their own; the pipeline replaces files and never writes into them.
                ours["cache"]["type"] = ["reflink", "hardlink", "copy"]
            if theirs["core"].get("remote"):
                ours["core"] = {"remote": theirs["core"]["remote"]}

    def _sources(self) -> Iterator[Path]:
        for name, corpus in (self.params().get("corpora") or {}).items():
            source = Path(corpus["source"])
            if source.is_absolute():
                continue
            if ".." in source.parts:
                raise RetrainingError(
                    f"{PARAMS}: the source of corpus {name} lies outside of the checkout: give its absolute path"
                )
            if not (self.tree / f"{source}.dvc").is_file():
                yield source

    def _lend(self, source: Path) -> None:
        """Put what the checkout has of a source, and git does not, into the worktree, as hard links where that goes.

        DVC hashes what hard links lead to as it hashes the files; symbolic links inside of a folder it does not follow,
        so one that is there already stays one.
        """
        ours, theirs = self.root / source, self.tree / source
        if ours.is_symlink() or ours.is_file():
            pairs = [(ours, theirs)]
        else:
            pairs = [
                (Path(folder) / name, theirs / Path(folder).relative_to(ours) / name)
                for folder, folders, names in os.walk(ours)
                for name in [*names, *(one for one in folders if (Path(folder) / one).is_symlink())]
            ]
        for ours, theirs in pairs:
            if theirs.exists() or theirs.is_symlink():
                continue
            if ours.is_dir():
                theirs.parent.mkdir(parents=True, exist_ok=True)
                theirs.symlink_to(ours.resolve())
            else:
                place(ours, theirs, "link")


def set_value(path: Path, names: Sequence[str], value: str | dict[str, str]) -> None:
    """Set what a YAML file has under names, one in the other; its comments and the rest stay as they are."""
    from dvc.utils.serialize import modify_yaml
    from ruamel.yaml.comments import CommentedMap

    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name in names:
        found = (found or {}).get(name)
    if found == value:
        return
    with modify_yaml(str(path)) as whole:
        inner = whole
        for name in names[:-1]:
            inner = inner.setdefault(name, CommentedMap())
        inner[names[-1]] = CommentedMap(value) if isinstance(value, dict) else value
        if isinstance(value, dict):
            inner[names[-1]].fa.set_flow_style()
