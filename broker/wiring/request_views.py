"""Access requests as one broker shows them."""

from dataclasses import dataclass

from broker.model.access_request import AccessRequest, Review


@dataclass(frozen=True, slots=True)
class RequestView:
    """A request with what is proven of it here: verdicts, whether its grant is in force, why not if it is time.

    `shared` is whether the state that brokers share has it so.
    """

    request: AccessRequest
    reviews: tuple[Review, ...]
    in_force: bool
    held_because: tuple[str, ...]
    shared: bool = True
