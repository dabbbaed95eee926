"""token create, list and revoke."""

from collections.abc import Callable

from tests.support.cli_stub import Stub, Told

pytest_plugins = ["tests.support.cli_stub"]


def test_only_the_new_token_is_on_standard_output(stub: Stub, pushlive: Callable[..., Told]) -> None:
    told = pushlive("token", "create", "ci")
    assert (told.code, told.out) == (0, "pl_new\n")
    assert "not shown again" in told.err
    assert stub.asked[-1][2] == {"name": "ci", "role": "developer", "expires": "365d"}
    pushlive("token", "create", "ci", "--role", "viewer", "--expires", "never")
    assert stub.asked[-1][2] == {"name": "ci", "role": "viewer", "expires": "never"}
    for role, git in (("viewer", "git fetch"), ("developer", "git push")):
        stub.answers["POST", "/api/tokens"] = (201, {"name": "bo", "role": role, "token": "pl_new"})
        assert f"the password for `{git}`" in pushlive("token", "create", "bo", "--role", role).err
    assert pushlive("token", "create", "ci", "--role", "king").code == 2


def test_tokens_are_listed_and_revoked(stub: Stub, pushlive: Callable[..., Told]) -> None:
    assert pushlive("token", "list").out.splitlines()[0].split() == [
        *("name", "role", "created", "expires", "last", "used")
    ]
    assert pushlive("token", "list").out.splitlines()[1].split() == [
        *("ci", "developer", "2d", "ago", "in", "4d", "never")
    ]
    assert "Revoked the token ci" in pushlive("token", "revoke", "ci").out
    assert pushlive("token", "revoke", "no/body").code == 4
    assert stub.asked[-1][:2] == ("DELETE", "/api/tokens/no%2Fbody")
