"""Examples that hypothesis makes: the same in every run and place, and none fails because the machine is busy."""

from hypothesis import settings

settings.register_profile("abbnn", deadline=None, derandomize=True)
settings.load_profile("abbnn")
