"""Code loaded from an address: whatever it says, it never leads into the server's own network."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest

from pipeline_app import remote
from pipeline_app.remote import FetchFailed, NotAllowed, load, name_of, raw_address

SOURCE = "class Pipe:\n    pass\n"


def answer(body: str | bytes, status: str = "200 OK", **headers: str) -> bytes:
    body = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def redirect(to: str, status: str = "302 Found") -> bytes:
    return answer("a secret that must not be told", status, Location=to)


class Site(ThreadingTCPServer):
    """A web server of raw answers by path; ``asked`` are the requests it got."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        self.pages: dict[str, bytes | list[bytes | float]] = {}
        self.asked: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Visit)
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def handle_error(self, request, client_address) -> None:
        """A client that hangs up is what some tests are about."""


class Visit(StreamRequestHandler):
    def handle(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return
            head += line
        self.server.asked.append(head)
        page = self.server.pages[head.split()[1].decode()]
        for part in page if isinstance(page, list) else [page]:
            if isinstance(part, float):
                time.sleep(part)
            else:
                self.wfile.write(part)


@pytest.fixture
def site(settings):
    """A site on loopback that may be loaded from."""
    with Site() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.02,))
        thread.start()
        settings.FUNCTIONS_LOAD_FROM = [f"127.0.0.1:{found.port}"]
        yield found
        found.shutdown()
        thread.join()


# --- What is fetched ------------------------------------------------------------------------------------


async def test_a_text_file_comes_with_the_name_that_its_address_suggests(site):
    site.pages["/functions/greeter.py?raw=1"] = answer(SOURCE)
    found = await load(site.url + "/functions/greeter.py?raw=1")
    assert (found.name, found.content) == ("greeter", SOURCE)
    request = site.asked[0].decode()
    assert request.startswith("GET /functions/greeter.py?raw=1 HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{site.port}\r\n" in request
    assert "Authorization" not in request


async def test_every_way_to_send_a_body_is_read(site):
    body = SOURCE.encode()
    site.pages["/chunked"] = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n" + body[:5] + b"\r\n"
        + f"{len(body) - 5:X}".encode() + b"\r\n" + body[5:] + b"\r\n0\r\n\r\n"
    )  # fmt: skip
    site.pages["/closed"] = b"HTTP/1.0 200 OK\r\n\r\n" + body
    site.pages["/early"] = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(SOURCE)
    site.pages["/marked"] = answer(b"\xef\xbb\xbf" + body)
    for path in site.pages:
        assert (await load(site.url + path)).content == SOURCE


async def test_letters_beyond_ascii_are_written_as_addresses_have_them(site):
    site.pages["/gr%C3%BC%C3%9Fe.py?q=%C3%A4"] = answer(SOURCE)
    assert (await load(site.url + "/grüße.py?q=ä")).name == "grüße"


async def test_redirects_are_followed_and_the_name_stays_that_of_the_first_address(site):
    site.pages["/a/one.py"] = redirect("two.py", "301 Moved Permanently")
    site.pages["/a/two.py"] = redirect("/three.py", "307 Temporary Redirect")
    site.pages["/three.py"] = redirect(f"//127.0.0.1:{site.port}/four.py", "308 Permanent Redirect")
    site.pages["/four.py"] = answer(SOURCE)
    found = await load(site.url + "/a/one.py")
    assert (found.name, found.content) == ("one", SOURCE)


@pytest.mark.parametrize(
    ("page", "raw"),
    [
        (
            "https://github.com/o/r/tree/main/pipes/greeter",
            "https://raw.githubusercontent.com/o/r/main/pipes/greeter/main.py",
        ),
        ("https://github.com/o/r/tree/v1.2/greeter/", "https://raw.githubusercontent.com/o/r/v1.2/greeter/main.py"),
        ("https://github.com/o/r/tree/main", "https://raw.githubusercontent.com/o/r/main/main.py"),
        ("https://github.com/o/r/blob/main/a/b.py", "https://raw.githubusercontent.com/o/r/main/a/b.py"),
        ("http://www.github.com/o/r/blob/main/a.py?plain=1#L3", "https://raw.githubusercontent.com/o/r/main/a.py"),
        (" https://example.org/a.py ", "https://example.org/a.py"),
        ("https://github.com/o/r", "https://github.com/o/r"),
        ("https://github.com.example.org/o/r/blob/main/a.py", "https://github.com.example.org/o/r/blob/main/a.py"),
    ],
)
def test_pages_of_github_lead_to_the_file_they_show(page, raw):
    assert raw_address(page) == raw


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/a/greeter.py", "greeter"),
        ("https://example.org/a/greeter/main.py", "greeter"),
        ("https://example.org/greeter/index.py?x=/y.py", "greeter"),
        ("https://example.org/greeter/__init__.py#x", "greeter"),
        ("https://example.org/main.py", "main"),
        ("https://example.org/a/notes.txt", "notes.txt"),
        ("https://example.org/", "function"),
    ],
)
def test_the_name_is_the_files_or_its_folders(url, name):
    assert name_of(url) == name


# --- What is refused ------------------------------------------------------------------------------------


async def test_loopback_is_refused_unless_it_is_allowed(site, settings):
    site.pages["/x.py"] = answer(SOURCE)
    settings.FUNCTIONS_LOAD_FROM = []
    with pytest.raises(NotAllowed) as refused:
        await load(site.url + "/x.py")
    assert str(refused.value) == (
        f"127.0.0.1:{site.port} leads to a loopback address, where this server does not fetch from. "
        "An administrator may allow the host (FUNCTIONS_LOAD_FROM)."
    )
    settings.FUNCTIONS_LOAD_FROM = [f"127.0.0.1:{site.port + 1}", "10.0.0.0/8"]
    with pytest.raises(NotAllowed):
        await load(site.url + "/x.py")
    assert site.asked == []
    settings.FUNCTIONS_LOAD_FROM = ["127.0.0.0/8"]
    assert (await load(site.url + "/x.py")).content == SOURCE


@pytest.mark.parametrize(
    ("host", "what"),
    [
        ("127.0.0.1", "a loopback address"),
        ("localhost", "a loopback address"),
        ("LOCALHOST.", "a loopback address"),
        ("127.1", "a loopback address"),
        ("2130706433", "a loopback address"),
        ("0x7f000001", "a loopback address"),
        ("0", "a loopback address"),
        ("[::1]", "a loopback address"),
        ("[::ffff:127.0.0.1]", "a loopback address"),
        ("[::ffff:7f00:1]", "a loopback address"),
        ("10.1.2.3", "a private address"),
        ("172.16.0.1", "a private address"),
        ("192.168.1.1", "a private address"),
        ("100.64.0.1", "a private address"),
        ("[fd00::1]", "a private address"),
        ("169.254.1.1", "a link-local address"),
        ("[fe80::1%25eth0]", "a link-local address"),
        ("169.254.169.254", "a cloud metadata address"),
        ("[fd00:ec2::254]", "a cloud metadata address"),
        ("[64:ff9b::a9fe:a9fe]", "a cloud metadata address"),
        ("224.0.0.1", "a reserved or multicast address"),
    ],
)
async def test_addresses_that_are_not_public_are_refused_however_they_are_written(host, what):
    with pytest.raises(NotAllowed, match=f"leads to {what}"):
        await load(f"http://{host}/latest/meta-data/")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "must begin with https:// or http://"),
        ("greeter.py", "must begin with https:// or http://"),
        ("file:///etc/passwd", "must begin with https:// or http://"),
        ("ftp://example.org/a.py", "must begin with https:// or http://"),
        ("https://bob:secret@example.org/a.py", "must not have a user name or password"),
        ("https://bob@127.0.0.1/a.py", "must not have a user name or password"),
        ("https:///a.py", "names no host"),
        ("https://[::1/a.py", "is not a valid one"),
        ("https://example.org:99999/a.py", "is not a valid one"),
        ("https://example.org:0/a.py", "Port 0"),
        ("https://example.org/a b.py", "spaces or control characters"),
        ("https://example.org/a\r\nHost: x", "spaces or control characters"),
        ("https://example.org/\0", "spaces or control characters"),
        ("https://example.org/" + "a" * 3000, "is longer than 2048 characters"),
        ("https://" + "a" * 300 + ".org/", "names no host"),
        ("https://\ud800.org/a.py", "names no host"),
        ("https://example.org/\ud800.py", "is not a valid one"),
    ],
)
async def test_an_address_that_is_none_is_a_sentence(url, sentence):
    with pytest.raises(NotAllowed, match=sentence):
        await load(url)


@pytest.mark.parametrize(
    "to",
    [
        "http://127.0.0.1:1/",
        "http://169.254.169.254/latest/",
        "//localhost/",
        "file:///etc/passwd",
        "http://x:y@10.0.0.1/",
    ],
)
async def test_a_redirect_to_where_nothing_is_fetched_from_is_refused(site, to):
    site.pages["/x.py"] = redirect(to)
    with pytest.raises(NotAllowed) as refused:
        await load(site.url + "/x.py")
    assert "secret" not in str(refused.value)


async def test_a_name_is_looked_up_once_and_refused_for_any_inner_address_among_its_own(site, settings, monkeypatch):
    """Asked again, a name server of an attacker's would say something else."""
    asked, given = [], ["93.184.216.34", "10.0.0.7"]

    def getaddrinfo(name, *_, **__):
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in given]

    system = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda name, *a, **k: (getaddrinfo if name == "code.example" else system)(name, *a, **k)
    )
    with pytest.raises(NotAllowed, match=r"code\.example leads to a private address"):
        await load("http://code.example/x.py")
    assert asked == ["code.example"]
    given[:] = ["127.0.0.1"]
    settings.FUNCTIONS_LOAD_FROM = ["code.example"]
    with pytest.raises(NotAllowed, match="leads to a loopback address"):
        await load("http://code.example/x.py")
    asked.clear()
    site.pages["/x.py"] = answer(SOURCE)
    settings.FUNCTIONS_LOAD_FROM = ["127.0.0.1"]
    assert (await load(f"http://code.example:{site.port}/x.py")).content == SOURCE
    assert asked == ["code.example"]
    assert f"Host: code.example:{site.port}\r\n".encode() in site.asked[-1]


async def test_redirects_come_to_an_end(site):
    for number in range(7):
        site.pages[f"/{number}"] = redirect(f"/{number + 1}")
    with pytest.raises(FetchFailed, match="leads elsewhere more than 5 times"):
        await load(site.url + "/0")
    assert len(site.asked) == 6
    site.pages["/nowhere"] = b"HTTP/1.1 302 Found\r\n\r\n"
    with pytest.raises(FetchFailed, match=r"leads elsewhere \(302\), but does not say where"):
        await load(site.url + "/nowhere")


# --- What is no answer ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        (answer("secret", "404 Not Found"), "answered 404 Not Found instead of the file"),
        (answer("secret", "500 Oops"), "answered 500 Internal Server Error instead of the file"),
        (answer("secret", "204 No Content"), "answered 204 No Content instead of the file"),
        (answer("<html>secret", Content_Type="text/html; charset=utf-8"), "shows a web page, not a file of code"),
        (answer(b"secret\xff\xfe"), r"is not UTF-8 text \(invalid start byte at byte 6\)"),
        (answer("secret\0"), "has NUL characters"),
        (answer(b"\x1f\x8bsecret", Content_Encoding="gzip"), "is compressed"),
        (answer("a" * (2 * 1024 * 1024 + 1)), "larger than the 2 MB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n", "larger than the 2 MB"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * (2 * 1024 * 1024 + 1), "larger than the 2 MB"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFF\r\n", "larger than the 2 MB"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "did not answer as a web server does"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "did not answer as a web server does"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsecret", "did not answer as a web server does"),
        (b"SSH-2.0-secret\r\n\r\n", "did not answer as a web server does"),
        (b"secret", "did not answer as a web server does"),
        (b"", "did not answer as a web server does"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n", "did not answer as a web server does"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n", "did not answer as a web server does"),
    ],
    ids=str,
)
async def test_what_is_no_text_is_a_sentence_that_tells_nothing_of_it(site, page, sentence):
    site.pages["/x.py"] = page
    with pytest.raises(FetchFailed, match=sentence) as failed:
        await load(site.url + "/x.py")
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize("where", ["head", "body"])
async def test_a_server_that_drips_is_left_when_the_time_is_over(site, monkeypatch, where):
    monkeypatch.setattr(remote, "SECONDS", 0.5)
    drops: list[bytes | float] = [b"HTTP/1.1 200 OK\r\n" + (b"\r\n" if where == "body" else b"")]
    for _ in range(40):
        drops += [b"x", 0.05]
    site.pages["/x.py"] = drops
    with pytest.raises(FetchFailed, match=r"gave no whole answer within 0\.5 s"):
        await load(site.url + "/x.py")


async def test_where_nobody_listens_is_said_so(site, settings):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        settings.FUNCTIONS_LOAD_FROM = ["127.0.0.1"]
        with pytest.raises(FetchFailed, match="does not take connections"):
            await load(f"http://127.0.0.1:{closed.getsockname()[1]}/x.py")


async def test_a_certificate_that_nobody_vouches_for_is_refused(site, settings, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    site.socket = context.wrap_socket(site.socket, server_side=True)
    with pytest.raises(FetchFailed, match=rf"The certificate of 127\.0\.0\.1:{site.port} is not valid: self-signed"):
        await load(f"https://127.0.0.1:{site.port}/x.py")
    assert site.asked == []


def self_signed(folder):
    """Returns a file with a certificate for 127.0.0.1 and its key."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, formats = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = folder / "certificate.pem"
    path.write_bytes(certificate.public_bytes(pem) + key.private_bytes(pem, formats, serialization.NoEncryption()))
    return path


# --- Over HTTP --------------------------------------------------------------------------------------------


def test_authors_load_code_over_the_api(site, api):
    site.pages["/greeter/main.py"] = answer(SOURCE)
    told = api.post("/api/v1/functions/load/url", {"url": site.url + "/greeter/main.py"})
    assert (told.status, told.json) == (200, {"name": "greeter", "content": SOURCE})
    site.pages["/gone.py"] = answer("secret", "404 Not Found")
    failed = api.post("/api/v1/functions/load/url", {"url": site.url + "/gone.py"})
    assert (failed.status, failed.error["code"], failed.error["param"]) == (400, "fetch_failed", "url")


@pytest.mark.parametrize("body", [{}, {"url": None}, {"url": 5}, {"url": ["x"]}, {"url": ""}])
def test_an_address_has_to_be_given(api, body):
    answer = api.post("/api/v1/functions/load/url", body)
    assert (answer.status, answer.error["param"]) == (400, "url")
