"""Serves the API in a process of its own and says how much memory it has: a port first, then octets for every line."""

import asyncio
import gc
import os
import sys
from pathlib import Path

from tests.integration.api.stage import Pki, serving


def resident_octets():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def main(folder):
    async with serving(Pki(folder)) as stage:
        print(stage.port, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(resident_octets(), len(stage.tunnels.tunnels), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
