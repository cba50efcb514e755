"""Whatever is done to a lake in whatever order, it holds what plain dictionaries say it holds."""

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from lakeline.errors import LakeConflict, LakeNotFound
from lakeline.lake import CommitId, Lake, open_lake

Files = dict[str, bytes]
PATHS = st.sampled_from(["a", "raw/b", "raw/c", "clean/ä b"])
CONTENTS = st.sampled_from([b"", b"1", b"2"])
BRANCHES = st.sampled_from(["main", "b1", "b2", "b3"])
TAGS = st.sampled_from(["t", "t1/x", "v1.0"])


@dataclass(frozen=True)
class Known:
    """What the model knows of a commit: its files and all its ancestors, itself included."""

    files: Files
    ancestors: frozenset[CommitId]


class LakeMachine(RuleBasedStateMachine):
    """A lake, and what it should hold."""

    fresh = itertools.count()

    @initialize()
    def create(self):
        self.lake: Lake = open_lake(f"model-{next(self.fresh)}", create=True)
        root = self.lake.resolve("main")
        self.commits = {root: Known({}, frozenset({root}))}
        self.branches: dict[str, CommitId] = {"main": root}
        self.tags: dict[str, CommitId] = {}

    def add(self, branch: str, commit: CommitId, files: Files, *parents: CommitId):
        ancestors = frozenset({commit}).union(*(self.commits[parent].ancestors for parent in parents))
        assert commit not in self.commits
        self.commits[commit] = Known(files, ancestors)
        self.branches[branch] = commit

    @rule(
        branch=BRANCHES,
        written=st.dictionaries(PATHS, CONTENTS, max_size=3),
        removed=st.sets(PATHS, max_size=2),
        expect=st.one_of(st.none(), BRANCHES),
    )
    def commit(self, branch: str, written: Files, removed: set[str], expect: str | None):
        removed -= set(written)
        expected = None if expect is None else self.branches.get(expect)
        message = f"Commit {len(self.commits)}"

        def attempt() -> CommitId:
            return self.lake.commit(branch, written, message, {"n": message}, expect=expected, remove=sorted(removed))

        if branch not in self.branches:
            with pytest.raises(LakeNotFound):
                attempt()
            return
        head = self.branches[branch]
        if expected is not None and expected != head:
            with pytest.raises(LakeConflict):
                attempt()
            return
        before = self.commits[head].files
        after = {path: content for path, content in before.items() if path not in removed} | written
        made = attempt()
        if after == before:
            assert made == head
        else:
            self.add(branch, made, after, head)
            assert self.lake.log(branch, 1)[0].metadata == {"n": message}

    @rule(name=BRANCHES, source=BRANCHES)
    def create_branch(self, name: str, source: str):
        if source not in self.branches:
            with pytest.raises(LakeNotFound):
                self.lake.create_branch(name, source)
        elif name in self.branches:
            with pytest.raises(LakeConflict):
                self.lake.create_branch(name, source)
        else:
            self.branches[name] = self.lake.create_branch(name, source).head

    @precondition(lambda self: len(self.branches) > 1)
    @rule(data=st.data())
    def delete_branch(self, data: st.DataObject):
        name = data.draw(st.sampled_from(sorted(set(self.branches) - {"main"})))
        self.lake.delete_branch(name)
        del self.branches[name]

    @precondition(lambda self: len(self.branches) > 1)
    @rule(data=st.data())
    def merge(self, data: st.DataObject):
        source, into = data.draw(st.permutations(sorted(self.branches)))[:2]
        theirs, ours = self.branches[source], self.branches[into]
        if theirs in self.commits[ours].ancestors:
            assert self.lake.merge(source, into, "Nothing new") == ours
            return
        common = self.commits[theirs].ancestors & self.commits[ours].ancestors
        bases = [base for base in common if not any(base in self.commits[other].ancestors for other in common - {base})]
        if len(bases) > 1:  # criss-cross: the stores may take either
            return
        message = f"Merge {len(self.commits)}"  # equal merges of one second would be one commit
        files, conflict = merged(*(self.commits[commit].files for commit in (bases[0], ours, theirs)))
        if conflict:
            with pytest.raises(LakeConflict):
                self.lake.merge(source, into, message)
        else:
            self.add(into, self.lake.merge(source, into, message), files, ours, theirs)

    @rule(name=TAGS, branch=BRANCHES)
    def tag(self, name: str, branch: str):
        if branch not in self.branches:
            return
        commit = self.branches[branch]
        if self.tags.get(name, commit) == commit:
            self.lake.tag(name, branch)
            self.tags[name] = commit
        else:
            with pytest.raises(LakeConflict):
                self.lake.tag(name, branch)

    @rule(data=st.data())
    def look_back(self, data: st.DataObject):
        numbers = st.integers(0, len(self.commits) - 1)  # not ids: they differ from try to try
        one, other = (list(self.commits)[data.draw(numbers)] for _ in range(2))
        left, right = self.commits[one].files, self.commits[other].files
        expected = {
            path: "added" if path not in left else "removed" if path not in right else "changed"
            for path in left.keys() | right.keys()
            if left.get(path) != right.get(path)
        }
        assert {change.path: change.kind for change in self.lake.diff(one, other)} == expected
        assert {entry.path: self.lake.read(one, entry.path) for entry in self.lake.ls(one)} == left
        assert {commit.id for commit in self.lake.log(one)} == self.commits[one].ancestors

    @invariant()
    def refs_are_as_they_should_be(self):
        assert {branch.name: branch.head for branch in self.lake.branches()} == self.branches
        assert self.lake.tags() == self.tags

    def teardown(self):
        if not hasattr(self, "lake"):
            return
        for branch, commit in self.branches.items():
            assert {entry.path: self.lake.read(branch, entry.path) for entry in self.lake.ls(branch)} == self.commits[commit].files


def merged(base: Files, ours: Files, theirs: Files) -> tuple[Files, bool]:
    files: Files = {}
    for path in base.keys() | ours.keys() | theirs.keys():
        was, our, their = base.get(path), ours.get(path), theirs.get(path)
        if our != their and was not in (our, their):
            return {}, True
        chosen = their if our == was else our
        if chosen is not None:
            files[path] = chosen
    return files, False


def test_lake_holds_what_the_model_says(store: str):
    size = {"git": (25, 20), "lakefs": (6, 15)}[store]
    run_state_machine_as_test(
        LakeMachine,
        settings=settings(
            max_examples=size[0],
            stateful_step_count=size[1],
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
