"""What all tests share."""

from hypothesis import settings

# A busy machine must not fail a property: how long an example takes is no claim of these tests.
settings.register_profile("claims", deadline=None)
settings.load_profile("claims")
