"""The file of break-glass and what this broker knows of it; whoever seals anew changes it meanwhile."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from broker.adapters.break_glass_file import BreakGlassFile, Kept
from broker.adapters.sealed_parts import opens
from broker.errors import ConfigError, UnavailableError
from broker.model.emergency import Emergency, OpeningRefusal, Seal
from broker.model.parts import Part

log = logging.getLogger(__name__)
MOST_REVIEWED = 100


class _RefusedError(Exception):
    def __init__(self, because: OpeningRefusal) -> None:
        super().__init__(because)
        self.because = because


class EmergencyJournal:
    """The file's word on the seal counts, and memory's on emergencies; what cannot be kept is tried again."""

    def __init__(self, file: BreakGlassFile) -> None:
        self._file = file
        self._kept = Kept()
        self._written: tuple[Emergency, ...] = ()
        self._mark: tuple[int, ...] = ()
        self._turn = asyncio.Lock()
        self.trouble = ""

    @property
    def seal(self) -> Seal | None:
        """The seal whose parts open something."""
        return self._kept.seal

    @property
    def emergencies(self) -> tuple[Emergency, ...]:
        """All that are kept, in the order in which they were opened."""
        return self._kept.emergencies

    @property
    def unrecorded_seal(self) -> Seal | None:
        """A seal that the ledger does not know of yet."""
        seal = self._kept.seal
        return None if seal is None or seal.id == self._kept.recorded else seal

    async def read(self) -> None:
        """What the last run has left. Raises ConfigError: whoever cannot know what is open must not begin."""
        self._mark = self._file.mark()
        self._kept = await asyncio.to_thread(self._file.read)
        self._written = self._kept.emergencies

    def put(self, emergency: Emergency) -> None:
        """An emergency as it is now; `keep` brings it to disk."""
        self._kept = self._kept.changed(emergency)

    async def spend(self, asked: Emergency, parts: Sequence[Part]) -> Emergency | OpeningRefusal:
        """Spend parts and keep the emergency that they open, in one step on the disk. Raises UnavailableError."""

        def spending(kept: Kept) -> Kept:
            if kept.seal is None or not kept.seal.usable:
                raise _RefusedError(OpeningRefusal.NOT_SEALED)
            if not opens(kept.seal, parts):
                raise _RefusedError(OpeningRefusal.PARTS_REFUSED)
            return self._together(kept).spent(replace(asked, seal=kept.seal.id))

        async with self._turn:
            try:
                self._take(await asyncio.to_thread(self._file.change, spending))
            except _RefusedError as refused:
                return refused.because
            except (OSError, ConfigError) as error:
                log.error("what is kept of break-glass cannot be changed: %s", error)
                raise UnavailableError("break_glass_unavailable", "Break-glass cannot be used.", str(error)) from None
        return self._kept.emergencies[-1]

    async def keep(self, recorded: Seal | None = None) -> None:
        """Bring the file to what is known, and whatever was sealed meanwhile into it."""

        def keeping(kept: Kept) -> Kept:
            after = self._together(kept)
            return after if recorded is None else replace(after, recorded=recorded.id)

        async with self._turn:
            try:
                self._take(await asyncio.to_thread(self._file.change, keeping))
            except (OSError, ConfigError) as error:
                self.trouble = f"what is kept of break-glass cannot be changed: {error}"
                log.error("%s", self.trouble)

    async def look(self) -> None:
        """See whether somebody sealed anew, and try again to keep what could not be kept."""
        if self.trouble or self._written != self._kept.emergencies or self._file.mark() != self._mark:
            await self.keep()

    def _together(self, kept: Kept) -> Kept:
        """The file's seal with the emergencies of both; of the reviewed ones the newest stay."""
        known = {emergency.id for emergency in self._kept.emergencies}
        strange = (emergency for emergency in kept.emergencies if emergency.id not in known)
        found = (*self._kept.emergencies, *strange)
        reviewed = [emergency.id for emergency in found if emergency.reviewed]
        gone = set(reviewed[: max(len(reviewed) - MOST_REVIEWED, 0)])
        left = tuple(emergency for emergency in found if emergency.id not in gone)
        return kept if left == kept.emergencies else replace(kept, emergencies=left)

    def _take(self, kept: Kept) -> None:
        """The file has this now; what changed in memory meanwhile stays, to be kept next."""
        now = {emergency.id: emergency for emergency in self._kept.emergencies}
        self._written, self._mark, self.trouble = kept.emergencies, self._file.mark(), ""
        self._kept = replace(kept, emergencies=tuple(now.get(found.id, found) for found in kept.emergencies))
