"""What the state says that cannot be true: each such thing is logged and recorded once."""

import logging
from collections.abc import Callable

from broker.engine.ports import Ledger
from broker.errors import LedgerUnavailableError
from broker.ledger.notes import SIGNED_BY_OTHERS

log = logging.getLogger(__name__)
MOST_DOUBTED = 4096


class Doubts:
    """Of one kind of thing; `signers` names, for people, the brokers whose signatures are asked for."""

    def __init__(self, ledger: Ledger, signers: str) -> None:
        self._ledger = ledger
        self._signers = signers
        self._said: set[tuple[str, str]] = set()

    def say(self, about: str, why: str, words: str, record: Callable[[], bytes]) -> None:
        """`why` begins with the code; `words` are for the log. Recorded or not, it is not believed."""
        if (about, why) in self._said or len(self._said) >= MOST_DOUBTED:
            return
        self._said.add((about, why))
        log.critical("%s", words)
        if why.partition(": ")[0] == SIGNED_BY_OTHERS:
            log.critical("is the public key of %s missing in the setting state.brokers?", self._signers)
        try:
            self._ledger.append(record())
            self._ledger.settle(False, lambda _: None)
        except LedgerUnavailableError:
            log.error("that %s cannot be believed was not recorded: the ledger is closed", about)
