"""What every worker is to have loaded, and what is left to do for one."""

from hypothesis import given
from hypothesis import strategies as st

from serve.deployment import Deployment, ModelStatus
from serve.desired import Desired


def status(name: str, version: int) -> ModelStatus:
    return ModelStatus(name, version, True, "onnxruntime in float32", 1.0)


def after(*deployments: Deployment) -> Desired:
    desired = Desired()
    for wanted in deployments:
        desired = desired.deployed(wanted, status(wanted.name, wanted.version))
    return desired


def shown(desired: Desired) -> list[tuple[str, int, bool]]:
    return [(each.name, each.version, each.current) for each in desired.statuses]


def test_nothing_is_desired_at_first() -> None:
    assert Desired().statuses == []
    assert Desired().deployments_for(Desired()) == []
    assert Desired().surplus_of(Desired()) == []


def test_a_version_takes_the_others_place() -> None:
    assert shown(after(Deployment("car", 1), Deployment("bus", 4), Deployment("car", 2))) == [
        ("bus", 4, True),
        ("car", 2, True),
    ]


def test_a_version_is_current_beside_those_that_are_kept() -> None:
    kept = after(Deployment("car", 1), Deployment("car", 2, keep_others=True))
    assert shown(kept) == [("car", 1, False), ("car", 2, True)]
    back = kept.deployed(Deployment("car", 1, keep_others=True), status("car", 1))
    assert shown(back) == [("car", 1, True), ("car", 2, False)]


def test_what_is_unloaded_is_desired_no_more() -> None:
    desired = after(Deployment("bus", 4), Deployment("car", 1), Deployment("car", 2, keep_others=True))
    assert shown(desired.unloaded("car", 1)) == [("bus", 4, True), ("car", 2, True)]
    assert shown(desired.unloaded("car", 0)) == [("bus", 4, True)]


def test_a_worker_that_has_nothing_loads_the_current_versions_last_and_as_the_others_did() -> None:
    desired = after(Deployment("car", 2), Deployment("car", 1, keep_others=True))
    runs_on = "onnxruntime in float32"
    assert desired.deployments_for(Desired()) == [
        Deployment("car", 2, keep_others=True, runs_on=runs_on),
        Deployment("car", 1, keep_others=True, runs_on=runs_on),
    ]


def test_a_worker_reads_again_what_was_forced_since() -> None:
    before = after(Deployment("car", 1))
    assert before.deployed(Deployment("car", 1), status("car", 1)).deployments_for(before) == []
    forced = before.deployed(Deployment("car", 1, force=True), status("car", 1))
    (wanted,) = forced.deployments_for(before)
    assert wanted.force


class Worker:
    """What a process has loaded, by revision of its files: it does as it is told, and refuses what a server refuses."""

    def __init__(self, desired: Desired) -> None:
        self.loaded = {held.key: held.revision for held in desired.held}
        self.current = {held.status.name: held.status.version for held in desired.held if held.status.current}

    def follow(self, desired: Desired, adopted: Desired) -> None:
        read_now = {held.key: held.revision for held in desired.held}
        for wanted in desired.deployments_for(adopted):
            key = (wanted.name, wanted.version)
            if wanted.force or key not in self.loaded:
                self.loaded[key] = read_now[key]
            self.current[wanted.name] = wanted.version
        for name, version in desired.surplus_of(adopted):
            assert version == 0 or self.current[name] != version
            gone = [key for key in self.loaded if key[0] == name and version in (0, key[1])]
            assert len(gone) < len(self.loaded), "the last model is never unloaded"
            for key in gone:
                del self.loaded[key]
            if version == 0:
                del self.current[name]


names, versions = st.sampled_from(["bus", "car"]), st.integers(1, 3)
deployments = st.lists(st.builds(Deployment, names, versions, st.booleans(), st.booleans()), min_size=1, max_size=6)


@given(deployments, deployments)
def test_a_worker_comes_from_any_former_state_to_what_is_desired(
    former: list[Deployment], latter: list[Deployment]
) -> None:
    adopted, desired = after(*former), after(*former, *latter)
    if latter[0].version == 1 and len({held.status.name for held in desired.held}) > 1:
        desired = desired.unloaded(latter[0].name, 0)
    worker = Worker(adopted)
    worker.follow(desired, adopted)
    wanted = Worker(desired)
    assert (worker.loaded, worker.current) == (wanted.loaded, wanted.current)
