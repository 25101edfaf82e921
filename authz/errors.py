"""What can be wrong with a policy by its own words."""

__all__ = ["AuthzError", "MalformedKeyError", "UnknownKeyError", "UnsupportedValueError"]


class AuthzError(Exception):
    """The base of every error of this package."""


class UnsupportedValueError(AuthzError):
    """A value that means nothing for its attribute."""

    def __init__(self, value: str, reason: str) -> None:
        super().__init__(f"{value!r} is {reason}")
        self.value = value
        self.reason = reason


class UnknownKeyError(AuthzError):
    """A `when` key that names no attribute."""

    def __init__(self, key: str) -> None:
        super().__init__(f"unknown key `{key}`")
        self.key = key


class MalformedKeyError(AuthzError):
    """A `when` key that names an attribute but lacks its `[name]`."""

    def __init__(self, key: str) -> None:
        super().__init__(f"key `{key}` should have the form `name[name]`")
        self.key = key
