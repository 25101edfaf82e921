"""Settings for every test: machines are shared and slow at times, and that is no fault of the code."""

from hypothesis import HealthCheck, settings

settings.register_profile("meshward", suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("meshward")
