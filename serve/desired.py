"""What every worker is to have loaded, and what is left to do for one that has something else."""

from dataclasses import dataclass, replace

from serve.deployment import Deployment, ModelStatus


@dataclass(frozen=True)
class Held:
    """A loaded version, and by which deployment its files were read: a forced one reads them again."""

    status: ModelStatus
    revision: int

    @property
    def key(self) -> tuple[str, int]:
        """Name and version."""
        return self.status.name, self.status.version


@dataclass(frozen=True)
class Desired:
    """All loaded versions, after so many deployments."""

    held: tuple[Held, ...] = ()
    revision: int = 0

    @property
    def statuses(self) -> list[ModelStatus]:
        """What is loaded, by name and version."""
        return [held.status for held in sorted(self.held, key=lambda held: held.key)]

    def deployed(self, wanted: Deployment, status: ModelStatus) -> "Desired":
        """What is desired once ``wanted``, which came to ``status``, is everywhere."""
        former = {held.key: held for held in self.held}
        known = former.pop((status.name, status.version), None)
        revision = self.revision + 1
        new = Held(replace(status, current=True), revision if known is None or wanted.force else known.revision)
        others = [held for held in former.values() if held.status.name != status.name]
        if wanted.keep_others:
            siblings = [held for held in former.values() if held.status.name == status.name]
            others += [replace(held, status=replace(held.status, current=False)) for held in siblings]
        return Desired((*others, new), revision)

    def unloaded(self, name: str, version: int) -> "Desired":
        """What is desired once that version, or with 0 all of the name, is nowhere."""
        gone = [held for held in self.held if held.status.name == name and version in (0, held.status.version)]
        return Desired(tuple(held for held in self.held if held not in gone), self.revision + 1)

    def deployments_for(self, adopted: "Desired") -> list[Deployment]:
        """What a worker that has ``adopted`` must deploy, in order: of each name the current version last, as each
        becomes current when it is deployed."""
        has = {held.key: held for held in adopted.held}
        changed = {held.status.name for held in self.held if has.get(held.key) != held}
        return [
            Deployment(
                *held.key,
                keep_others=True,
                force=held.key in has and has[held.key].revision != held.revision,
                runs_on=held.status.runs_on,
            )
            for held in sorted(self.held, key=lambda held: held.status.current)
            if held.status.name in changed and (held.status.current or has.get(held.key) != held)
        ]

    def surplus_of(self, adopted: "Desired") -> list[tuple[str, int]]:
        """Names and versions, or 0 for all of a name, that such a worker must unload after that."""
        names, kept = {held.status.name for held in self.held}, {held.key for held in self.held}
        gone = {(name, version if name in names else 0) for name, version in (held.key for held in adopted.held)}
        return sorted(gone - kept)
