"""Text that meets the matchers: made of the pieces that identities, patterns and paths are made of."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st

from authz.attributes import Issued, ListItem, Value
from authz.matcher import (
    Exact,
    Exists,
    InList,
    IssuedTo,
    Matcher,
    Namespace,
    Port,
    Prefix,
    Present,
    ServiceAccount,
    SpiffeSuffix,
    Suffix,
    Template,
    TextMatcher,
    TrustDomainPattern,
)
from authz.values import Scope, cidr

SCOPE = Scope("shop", ("cluster.local",))

PIECES = (
    "spiffe://",
    "/",
    "/ns/",
    "/sa/",
    "ns",
    "sa",
    "a",
    "b",
    ".",
    "*",
    "-",
    ":",
    "\n",
    "+",
    "(",
    "[",
    "\\",
    "é",
    "\udcff",
)

texts = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
"""Short texts in which patterns are likely to be found."""

identities = st.one_of(
    texts,
    st.lists(st.sampled_from(PIECES), max_size=6).map(lambda pieces: "spiffe://" + "".join(pieces)),
    st.tuples(texts, st.sampled_from(("a", "b", "a.b")), texts, st.sampled_from(("a", "sa", "a.b")), texts).map(
        lambda parts: "spiffe://{}/ns/{}/{}/sa/{}{}".format(*parts)
    ),
    st.tuples(st.sampled_from(("a", "b")), st.sampled_from(("a", "b", "a.b"))).map(
        lambda parts: "spiffe://td/ns/{}/sa/{}".format(*parts)
    ),
)
paths = st.lists(st.sampled_from(("/", "a", "b", "*", "é", "[", "%2F", "\n", "a/b")), max_size=7).map("".join)
names = st.lists(st.sampled_from(("a", "b", ".", "\n", "[", "\\", "+")), min_size=1, max_size=3).map("".join)

text_matchers: st.SearchStrategy[TextMatcher] = st.one_of(
    st.builds(Exact, texts), st.builds(Prefix, texts), st.builds(Suffix, texts), st.builds(Present), st.builds(Exists)
)
namespaces = st.lists(names | st.just(""), min_size=1, max_size=4).map(lambda pieces: Namespace(tuple(pieces)))
service_accounts = st.builds(ServiceAccount, names, names)
trust_domains = st.builds(TrustDomainPattern, texts, texts)
spiffe_suffixes = st.builds(SpiffeSuffix, texts)
templates = (
    st.lists(st.sampled_from(("/a", "/{*}", "/b.c")), max_size=3)
    .flatmap(lambda head: st.sampled_from(("", "/{**}", "/{**}/a", "/")).map(lambda tail: "".join(head) + tail))
    .filter(lambda text: "{" in text)
    .map(Template)
)
networks = st.sampled_from(
    ("0.0.0.0/0", "10.1.2.3/8", "10.1.2.3", "10.1.2.2/31", "::/0", "::ffff:10.1.2.3", "2001:db8::/33")
)

matchers: st.SearchStrategy[Matcher] = st.one_of(
    text_matchers,
    spiffe_suffixes,
    namespaces,
    service_accounts,
    trust_domains,
    templates,
    networks.map(lambda text: cidr(text, SCOPE)[0]),
    st.integers(0, 65535).map(Port),
    st.builds(IssuedTo, text_matchers, text_matchers),
    st.builds(InList, text_matchers),
)
addresses = st.one_of(
    st.sampled_from(("10.1.2.3", "10.1.2.2", "11.0.0.1", "0.0.0.0")).map(IPv4Address),  # noqa: S104  # nothing is bound
    st.sampled_from(("::ffff:10.1.2.3", "2001:db8::1", "2001:db8:8000::1", "::")).map(IPv6Address),
    st.integers(0, 2**32 - 1).map(IPv4Address),
    st.integers(0, 2**128 - 1).map(IPv6Address),
)
values: st.SearchStrategy[Value] = st.one_of(
    identities, paths, st.integers(0, 65535), addresses, st.builds(Issued, texts, texts), st.builds(ListItem, texts)
)
