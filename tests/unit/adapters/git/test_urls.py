import pytest

from pipeline.adapters.git.urls import check_ref, check_url, is_public, safe_tag
from pipeline.errors import RequestError


def resolver(*addresses):
    return lambda host, port: addresses


PUBLIC = resolver("140.82.121.4")


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% /tmp/x",
        "ext::sh",
        "file:///etc",
        "/etc/repository",
        "-uhttps://example.org/x",
        "--upload-pack=touch",
        "http://example.org/x.git",
        "git://example.org/x.git",
        "ftp://example.org/x.git",
        "fd::17/foo",
        "https://",
        "https:///x.git",
        "https://example.org:0/x.git",
        "https://example.org:99999/x.git",
        "https://exa mple.org/x",
        "https://example.org/x\n--upload-pack=y",
        "ssh://-oProxyCommand=touch/x",
        "ssh://-oX@example.org/x",
        "ssh://example.org/-x",
        "",
    ],
)
def test_fault_14_dangerous_addresses_are_refused(url):
    with pytest.raises(RequestError):
        check_url(url, (), PUBLIC)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104
        "224.0.0.1",
        "::1",
        "fe80::1%eth0",
        "fc00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_fault_14_private_addresses_are_refused_even_beside_a_public_one(address):
    assert not is_public(address)
    with pytest.raises(RequestError, match="private address"):
        check_url("https://example.org/x.git", (), resolver("140.82.121.4", address))


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "localhost", "[::1]"])
def test_fault_14_other_spellings_of_loopback_are_refused_by_the_real_resolver(host):
    with pytest.raises(RequestError, match="private address"):
        check_url(f"https://{host}/x.git")


def test_public_addresses_pass_and_are_pinned():
    remote = check_url("https://example.org/x.git", (), PUBLIC)
    assert (remote.url, remote.host, remote.port) == ("https://example.org/x.git", "example.org", 443)
    assert remote.addresses == ("140.82.121.4",)
    assert check_url("git@example.org:a/b.git", (), PUBLIC).url == "ssh://git@example.org/a/b.git"


def test_a_password_is_kept_out_of_the_url_and_of_the_repr():
    remote = check_url("https://user:t0p%40secret@example.org/x.git", (), PUBLIC)
    assert remote.url == "https://example.org/x.git"
    assert remote.authorization == "Basic dXNlcjp0MHBAc2VjcmV0"
    assert "dXNlcjp" not in repr(remote)


def test_a_refusal_does_not_print_the_password():
    with pytest.raises(RequestError) as caught:
        check_url("https://user:t0psecret@example.org/x.git", (), resolver("10.0.0.1"))
    assert "t0psecret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "allow", "passes"),
    [
        ("https://git.internal/x.git", ("git.internal",), True),
        ("http://git.internal:3000/x.git", ("git.internal:3000",), True),
        ("http://git.internal:3001/x.git", ("git.internal:3000",), False),
        ("http://git.internal/team/x.git", ("http://git.internal/team/",), True),
        ("http://git.internal/teams/x.git", ("http://git.internal/team",), False),
        ("http://git.internal/team/../other/x.git", ("http://git.internal/team/",), False),
        ("file:///srv/git/x.git", ("file:///srv/git/",), True),
        ("file:///srv/git/../../etc", ("file:///srv/git/",), False),
        ("file:///srv/gitty/x.git", ("file:///srv/git",), False),
        ("file://git.internal/x.git", ("git.internal",), False),
        ("ext::git.internal", ("git.internal",), False),
    ],
)
def test_fault_14_allowed_hosts_and_urls_pass(url, allow, passes):
    if passes:
        assert check_url(url, allow, resolver("10.0.0.1")).url == url
    else:
        with pytest.raises(RequestError):
            check_url(url, allow, resolver("10.0.0.1"))


@pytest.mark.parametrize(
    "branch",
    [
        "--upload-pack=touch /tmp/x",
        "-f",
        "",
        "@",
        "a..b",
        "../../etc/passwd",
        "a/../b",
        "/a",
        "a/",
        "a//b",
        "a\nb",
        "a b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[b",
        "a\\b",
        "a@{1}",
        "a.lock",
        "a.lock/b",
        ".a",
        "a/.b",
        "a.",
        "x" * 300,
        "a\udcff",
    ],
)
def test_fault_13_invalid_branch_names_are_refused(branch):
    with pytest.raises(RequestError):
        check_ref(branch)


@pytest.mark.parametrize(
    "branch", ["main", "feature/x", "fix-1.2", "🚀", "ünï/😀", "/".join(["x" * 200] * 4)]
)
def test_fault_15_unusual_branch_names_pass(branch):
    assert check_ref(branch) == f"refs/heads/{branch}"


def test_fault_15_tags_are_safe_and_unique():
    names = ["main", "feature/x", "feature-x", "feature_x", "Feature/x", "a..b", "a\nb", "a b", "🚀", "😀"]
    names += [
        "x" * 255,
        "x" * 256,
        "x" * 127 + "y",
        "r17",
        "latest",
        "abcdef1",
        "..",
        "-a",
        ".a",
        "",
        "a\udcff",
    ]
    names += [safe_tag("feature/x"), safe_tag("🚀"), safe_tag("r17")]
    tags = [safe_tag(name) for name in names]
    assert len(set(tags)) == len(tags)
    for tag in tags:
        assert len(tag) <= 128
        assert tag.isascii()
        assert tag[0].isalnum() or tag[0] == "_"
        assert check_ref(tag).endswith(tag)
    assert safe_tag("main") == "main"
    assert safe_tag("r17") != "r17"
