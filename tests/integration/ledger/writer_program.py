"""A broker's worth of load on a ledger, for faults from outside: `writer_program FOLDER SECONDS`.

Prints one line for every durable acknowledgement (`intent INDEX DIGEST`, `outcome INTENT`) and for every state; what is
printed has been acknowledged. Ends after SECONDS, or when the ledger closes, with the ledger closed in order.
"""

import asyncio
import os
import sys
from pathlib import Path
from time import monotonic

from broker.adapters.ledger_files import FileLedger, State
from broker.errors import LedgerUnavailableError
from tests.integration.ledger.running import begin, end, intent, ledger_in, outcome

WRITERS = 8


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


async def acknowledged(ledger: FileLedger, what: str) -> bool:
    """Said where the ledger tells it: a task that waits says it a turn later, perhaps after the next state."""
    told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def tell(error: LedgerUnavailableError | None) -> None:
        say(what if error is None else f"failed {error.code}")
        told.set_result(error is None)

    if ledger.settle(True, tell):
        tell(None)
    return await told


async def write(ledger: FileLedger, decided: int, name: str, until: float) -> None:
    number = 0
    while monotonic() < until and ledger.state is not State.CLOSED:
        number += 1
        digest = f"{name}-{number}"
        try:
            index = ledger.append(intent(decided, digest=digest), intent=True)
        except LedgerUnavailableError as error:
            say(f"refused {error.code}")
            await asyncio.sleep(0.02)
            continue
        if not await acknowledged(ledger, f"intent {index} {digest}"):
            return
        try:
            ledger.append(outcome(index))
        except LedgerUnavailableError as error:
            say(f"failed {error.code}")
            return
        if not await acknowledged(ledger, f"outcome {index}"):
            return


async def main(folder: Path, seconds: float) -> None:
    ledger = ledger_in(folder, on_state=lambda state, detail: say(f"state {state} {detail}"))
    await ledger.open()
    decided = begin(ledger)
    await asyncio.gather(*(write(ledger, decided, f"w{i}", monotonic() + seconds) for i in range(WRITERS)))
    if ledger.state is not State.CLOSED:
        end(ledger)
    await ledger.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2])))
