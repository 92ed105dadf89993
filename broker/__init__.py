"""The zero-trust OT access broker: the map.

Floors (imports go down only; siblings on one floor do not know each other; import-linter enforces it):

    4  cli, wiring                        names every class, once
    3  listeners | api | adapters         the only asynchronous code
    2  engine                             the way of one operation; no clock, no socket, no log
    1  wire | identity | authz | calendar | access | ledger     pure rules, strangers to each other
    0  model, settings, errors            the words, frozen

The way of one operation (`engine/exchange.py`):

    frame -> operation -> Decide(question) -> [obligations] -> RecordIntents -> [denied: refusal]
          -> LastLook -> Relay -> RecordOutcomes -> reply

Below floor 3 there is no socket, file, clock, random number or log: time, keys and chance arrive as arguments or
answers.
"""
