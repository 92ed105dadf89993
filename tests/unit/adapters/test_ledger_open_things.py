"""What records leave open, found by their octets, is what reading the documents finds."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from broker.adapters.ledger_files_open import OpenThings
from broker.ledger import operation_records, records

TEXTS = st.text(st.characters(max_codepoint=0x2FF), max_size=12) | st.sampled_from(
    [',"kind":"outcome",', '"kind":"intent","service":', "kind", "outcome"]
)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), max_size=3).map(tuple)
INTENTS = st.builds(
    lambda values, before, service: operation_records.intent(
        1.0, session="s", decision=7, service=service, digest="d" * 43, values=tuple(values), before=before
    ),
    st.lists(TEXTS, max_size=3),
    PAIRS,
    TEXTS,
)
OUTCOMES = st.builds(
    lambda intent, code, after: operation_records.outcome(1.0, intent=intent, result="done", code=code, after=after),
    st.integers(0, 20),
    TEXTS,
    PAIRS,
)
SESSIONS = st.builds(
    lambda session: records.session_closed(1.0, session=session, reason="x", operations=0, refusals=0),
    st.sampled_from("ab"),
) | st.builds(
    lambda session: records.session_opened(
        1.0, session=session, subject={"id": "a"}, device="d", listener="l", peer="p", proofs=[], decision=0
    ),
    st.sampled_from("ab"),
)
OTHERS = st.builds(lambda subject, what: records.evidence_viewed(1.0, subject=subject, what=what), TEXTS, TEXTS)


@given(st.lists(INTENTS | OUTCOMES | SESSIONS | OTHERS, max_size=25), st.data())
def test_what_is_open_is_what_a_reader_of_the_whole_documents_finds(entries: list[bytes], data: st.DataObject) -> None:
    things = OpenThings()
    cut = data.draw(st.integers(0, len(entries)))
    things.follow(entries[:cut])
    things.follow(iter(entries[cut:]))
    intents: dict[int, None] = {}
    sessions: dict[str, None] = {}
    for index, document in enumerate(map(orjson.loads, entries)):
        match document["kind"]:
            case "intent":
                intents[index] = None
            case "outcome":
                intents.pop(document["intent"], None)
            case "session_opened":
                sessions[document["session"]] = None
            case "session_closed":
                sessions.pop(document["session"], None)
    assert things.document() == {"size": len(entries), "intents": list(intents), "sessions": list(sessions)}
