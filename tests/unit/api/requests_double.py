"""Access requests in memory, as far as the API can see; it takes what it is told, or refuses with `refusal`."""

from dataclasses import dataclass, replace

from broker.model.access_request import EVERY_REQUEST, AccessRequest, RequestState, Standing, Terms
from broker.model.decision import ReviewAnswer
from broker.model.place import PlannedWrite
from broker.model.vocabulary import Action

TERMS = Terms(
    "req-1",
    "ana@acme.example",
    "acme",
    ("plant/ahu-1",),
    ("supply-temp-setpoint",),
    (Action.VIEW, Action.ADJUST),
    "the coil was exchanged",
    1_795_000_000,
    1_795_028_800,
    1_794_990_000,
    plan=(PlannedWrite("plant/ahu-1", "supply-temp-setpoint", "19.5"),),
    chain="req-1",
)


@dataclass
class ViewDouble:
    request: AccessRequest
    reviews: tuple = ()
    in_force: bool = False
    held_because: tuple[str, ...] = ()
    shared: bool = True


class RequestsDouble:
    def __init__(self):
        self.found = {TERMS.id: ViewDouble(AccessRequest(TERMS, Standing(RequestState.PENDING, 3)))}
        self.acts = []
        self.more = False
        self.refusal = None
        self.answer = ReviewAnswer(True, (), ("security",), 1, "one", ("operator", "security"))

    def new_id(self):
        return f"req-{len(self.found) + 1}"

    async def requests(self, choice=EVERY_REQUEST):
        found = [v for v in self.found.values() if choice.subject in ("", v.request.terms.subject)]
        found = [v for v in found if not choice.states or v.request.standing.state in choice.states]
        return tuple(v for v in found if choice.among is None or choice.among(v.request.terms)), self.more

    async def request(self, identifier):
        return self.found.get(identifier)

    async def may_review(self, request, subject):
        return self.answer

    async def create(self, terms, *, submit):
        standing = Standing(RequestState.PENDING if submit else RequestState.DRAFT)
        self.found[terms.id] = ViewDouble(AccessRequest(terms, standing))
        return self._did("create", terms.id)

    async def submit(self, request, by):
        return self._did("submit", request.id, by.id)

    async def review(self, request, by, verdict, comment):
        return self._did("review", request.id, by.id, verdict.value, comment)

    async def withdraw(self, request, by, why):
        return self._did("withdraw", request.id, by.id, why)

    async def revoke(self, request, by, why):
        return self._did("revoke", request.id, by.id, why)

    async def end_all(self, wanted, by, why):
        return tuple(
            self._did("end_all", found.request.id, by.id, why)
            for found in self.found.values()
            if wanted(found.request.terms)
        )

    async def close(self, request, by, report):
        return self._did("close", request.id, by.id, report)

    def _did(self, *act):
        if self.refusal is not None:
            raise self.refusal
        self.acts.append(act)
        return self.found[act[1]]

    def put(self, state):
        view = self.found[TERMS.id]
        view.request = replace(view.request, standing=replace(view.request.standing, state=state))
