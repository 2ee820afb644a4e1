from helpers.payloads import owned  # noqa: F401
