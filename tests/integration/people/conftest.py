"""Places for the state, as the tests of the state have them."""

from tests.integration.state.conftest import place as place
from tests.integration.state.conftest import postgresql as postgresql
from tests.integration.state.conftest import postgresql_place as postgresql_place
