"""What holds for every test."""

from hypothesis import HealthCheck, settings

# No test asserts on wall time: a machine that trains beside its tests is slow, not wrong.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
