"""What every test folder shares."""

from hypothesis import settings

# Machines are noisy: no test is red for being slow. Speed is shown in benchmarks/.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
