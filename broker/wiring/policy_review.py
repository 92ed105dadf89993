"""Which policy is in force: what its files say, or what people have activated (`policy.activation: review`).

In review, changed files wait: they are checked, archived and recorded, and come into force when a warrant names exactly
their revision. So does a revision that was in force before. What was in force last stays at a start; where nothing was,
the files are taken as they are, unless people have activated a policy on another broker of the same state.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from broker.adapters.policy_files import PolicyFiles
from broker.adapters.rego_channel import check_policy
from broker.engine.ports import Clock, Ledger, PolicyEngine
from broker.errors import ConfigError, LedgerUnavailableError, StateUnavailableError, UnavailableError
from broker.ledger import records
from broker.ledger.proposal_records import policy_proposed
from broker.model.action_rule import ActionRule
from broker.model.proposal import Warrant
from broker.model.vocabulary import EndReason, RecordKind
from broker.settings.action_class_file import DATA_NAME, action_rules

log = logging.getLogger(__name__)
InForceSince = tuple[str, float]
Candidate = tuple[PolicyFiles, float, Warrant | None]
"""A policy, since when (epoch seconds) it counts as in force, and what warrants it."""


class PolicySources(Protocol):
    """The policy's files, and what is kept of them; every method reads files and is called from a worker thread."""

    def policies(self) -> PolicyFiles:
        """Read the policies. Raises ConfigError."""

    def archive_policies(self, files: PolicyFiles) -> None:
        """Archive the policies by their revision."""

    def archived_policies(self, revision: str) -> PolicyFiles | None:
        """What was archived under that revision; None unless it is there and whole."""

    def policies_in_force(self) -> tuple[InForceSince, ...]:
        """Revisions that came into force and when (epoch seconds), the newest last. Raises ConfigError."""

    def remember_policy(self, revision: str, at: float) -> None:
        """Add to these."""


class PolicyReview:
    """One per broker."""

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        policy: PolicyEngine,
        sources: PolicySources,
        *,
        review: bool,
        warrants: Callable[[], Awaitable[Sequence[Warrant]]],
        decided: Callable[[], Awaitable[bool]],
        in_force: Callable[[EndReason], None],
        classify: Callable[[tuple[ActionRule, ...]], None],
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._policy = policy
        self._sources = sources
        self.review = review
        self._warrants = warrants
        self._decided = decided
        self._in_force = in_force
        self._classify = classify
        self._history: tuple[InForceSince, ...] = ()
        self._missing = ""
        self._passed_over = ""
        self._elsewhere = ""
        self._turn = asyncio.Lock()
        self.waiting = ""
        """The revision of the files that wait for people."""
        self.since = clock.monotonic()

    @property
    def revision(self) -> str:
        """What is in force."""
        return self._policy.revision

    @property
    def history(self) -> tuple[InForceSince, ...]:
        """What has been in force, the newest last."""
        return self._history

    @property
    def trouble(self) -> str:
        """Why nothing is in force, and what to do; "" if something is."""
        if self.revision:
            return ""
        if not self.waiting:
            return "no policy is published"
        if not self._elsewhere:
            return (
                "no policy is in force: what was activated on brokers of this state cannot be believed here; "
                "are their public keys missing in the setting state.brokers?"
            )
        return (
            f"no policy is in force: brokers of this state have activated revision {self._elsewhere}, and nobody "
            f"{self.waiting}, which is in the folder; put theirs there, or have this one activated at one of them"
        )

    def may_be_activated(self, revision: str) -> bool:
        """Only what waits, or was in force before, and not what is."""
        return revision != self.revision and revision in {self.waiting, *(known for known, _ in self._history)}

    async def files(self, revision: str) -> PolicyFiles | None:
        """What was archived under that revision."""
        return await asyncio.to_thread(self._sources.archived_policies, revision)

    async def start(self) -> None:
        """Publish what is to be in force from the start. Raises ConfigError."""
        self._history = await asyncio.to_thread(self._sources.policies_in_force)
        try:
            first = await self._first()
            if first is None:
                return  # the first look at the files says so
            files, at, _ = first
            await asyncio.to_thread(self._sources.archive_policies, files)
            await self._publish(files)
        except UnavailableError as error:
            log.error("the policy is not published yet, everything is denied until it is: %s", error)
            return
        await self._remember(files.revision, at)

    async def _first(self) -> Candidate | None:
        """What was in force last, if people decide about that; else what the files say.

        None if nothing was in force here, and people have decided for another policy elsewhere: nobody has approved
        what is in the files. Raises ConfigError or StateUnavailableError.
        """
        now = self._clock.now()
        if self.review and self._history:
            return await asyncio.to_thread(self._last), now, None
        files = await asyncio.to_thread(self._sources.policies)
        if not self.review or not await self._decided():
            return files, now, None
        newest = next(iter(await self._warrants()), None)
        self._elsewhere = _activated(newest)
        return (files, newest.at, newest) if newest and self._elsewhere == files.revision else None

    def _last(self) -> PolicyFiles:
        revision = self._history[-1][0]
        files = self._sources.archived_policies(revision)
        if files is None:
            hint = f"put policy-{revision}.json back into the archive, or start once with policy.activation: apply"
            raise ConfigError("policy_lost", "The policy that was in force is no longer in the archive.", hint)
        return files

    async def take(self) -> None:
        """The files have changed: into force, or in review to those who wait. Raises BrokerError."""
        async with self._turn:
            await self._take()

    async def _take(self) -> None:
        first = None if self.revision else await self._first()
        if first is not None:  # it could not be published at the start
            await self._bring(*first)
        files = await asyncio.to_thread(self._sources.policies)
        if files.revision == self.revision:
            self.waiting = ""
            return
        await asyncio.to_thread(self._sources.archive_policies, files)
        if not self.review:
            await self._bring(files, self._clock.now())
        elif files.revision != self.waiting:
            await check_policy(files.modules, files.data)
            self._ledger.append(policy_proposed(self._clock.now(), revision=files.revision, in_force=self.revision))
            log.warning("policy revision %s waits for people to activate it", files.revision)
            self.waiting = files.revision
            if not self.revision:
                log.error("everything is denied: %s", self.trouble)

    async def activate(self) -> None:
        """Bring into force what people have activated since. Raises BrokerError."""
        if self.review and (self._history or self.waiting):
            async with self._turn:
                with suppress(StateUnavailableError):  # what is in force stays, and what waits waits
                    await (self._activate() if self._history else self._take())

    async def _activate(self) -> None:
        for warrant in (await self._warrants())[:1]:
            revision = _activated(warrant)
            if revision == self.revision:
                return
            if warrant.at <= self._history[-1][1]:
                self._pass_over(warrant, revision)
                return
            files = await asyncio.to_thread(self._sources.archived_policies, revision)
            if files is not None and self.may_be_activated(revision):
                await self._bring(files, warrant.at, warrant)
            elif self._missing != revision:
                log.error("policy revision %s was activated, and this broker has never had it", revision)
                self._missing = revision

    def _pass_over(self, warrant: Warrant, revision: str) -> None:
        """What was warranted before is not brought back; clocks that differ make it look so, so it is said, once."""
        if self._passed_over != warrant.proposal:
            self._passed_over = warrant.proposal
            log.warning(
                "policy revision %s was activated before %s came into force here, and stays out of force: "
                "activate it again if it is wanted, and see whether the clocks of the brokers agree",
                revision,
                self.revision,
            )

    async def _bring(self, files: PolicyFiles, at: float, warrant: Warrant | None = None) -> None:
        previous = self.revision
        await self._publish(files)
        self.since = self._clock.monotonic()
        self.waiting = "" if self.waiting == files.revision else self.waiting
        self._record(files.revision, previous, warrant)
        self._in_force(EndReason.POLICY_CHANGED)
        await self._remember(files.revision, at)

    async def _publish(self, files: PolicyFiles) -> None:
        """What answers from now on, and by which rules what it is asked is classed. Raises BrokerError."""
        try:
            rules = action_rules(files.data)
        except ValueError as error:
            raise ConfigError("policy_refused", "The policy cannot be used.", f"{DATA_NAME}: {error}") from error
        await self._policy.publish(files.modules, files.data, files.revision)
        self._classify(rules)

    async def _remember(self, revision: str, at: float) -> None:
        if self._history and self._history[-1][0] == revision:
            return
        self._history = (*self._history, (revision, at))
        try:
            await asyncio.to_thread(self._sources.remember_policy, revision, at)
        except OSError as error:
            log.error("that policy revision %s is in force cannot be kept for the next start: %s", revision, error)

    def _record(self, revision: str, previous: str, warrant: Warrant | None) -> None:
        now, kind = self._clock.now(), RecordKind.POLICY_CHANGED
        cited = {"warrant": {"proposal": warrant.proposal, "broker": warrant.broker}} if warrant else None
        try:
            self._ledger.append(records.changed(kind, now, revision=revision, previous=previous, detail=cited))
        except LedgerUnavailableError:
            log.error("a change was not recorded: the ledger is closed")
        log.info("%s: revision %s in force", kind.value, revision)


def _activated(warrant: Warrant | None) -> str:
    """The revision that a warrant names."""
    return "" if warrant is None else dict(warrant.parameters).get("revision", "")
