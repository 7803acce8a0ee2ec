"""The app as a person meets it, in a real headless Chromium; and as a stranger would misuse it, through a bare socket."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from types import SimpleNamespace
from urllib.parse import quote

import numpy as np
import psutil
import pytest
import soundfile as sf
from conftest import PATIENCE_S, ROOT

from emotion_ser import demo
from emotion_ser import server as app_server
from emotion_ser.audio import audio_suffixes
from emotion_ser.classifier import EmotionClassifier
from emotion_ser.demo import MAX_UPLOAD_BYTES
from emotion_ser.server import CONNECTIONS, DemoServer

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
RECIPE = re.search(r"^\t@\$\(BIN\)/python -c '(.*serve.*)'$", (ROOT / "Makefile").read_text(), re.M).group(1)

UNNAMED = "no model was named: acoustic answers; whisper-base is right more often with strangers: name it (--model whisper-base), which fetches its encoder once, or give the encoder's folder (--encoder-path)"

def start(port, **env):
    "`make demo` with this environment's Python"
    return subprocess.Popen([sys.executable, "-c", RECIPE.replace("$(PORT)", str(port))], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_CACHE": str(ROOT / "no cache"), **env},
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    "What `make demo` serves: its `process`, `port` and `address`"
    process = start(0, EMOTION_SER_CACHE=str(tmp_path_factory.mktemp("app")), MPLBACKEND="TkAgg")
    said = re.fullmatch(r"open http://127\.0\.0\.1:(\d+); Ctrl-C ends it\n", process.stdout.readline())
    assert said, process.stderr.read()
    port = int(said[1])
    yield SimpleNamespace(process=process, port=port, address=f"http://127.0.0.1:{port}")
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0 and process.stderr.read().splitlines() == [UNNAMED]  # Ctrl-C ends it without a complaint, and nothing went wrong in between


@pytest.fixture(scope="module")
def browser():
    "A headless Chromium"
    if not CHROMIUM: pytest.skip("no Chromium is found")
    from playwright.sync_api import sync_playwright
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=1000 * PATIENCE_S)
        yield browser
        browser.close()


def new_page(browser, **options):
    "A page that waits as long as it takes"
    page = browser.new_page(**options)
    page.set_default_timeout(1000 * PATIENCE_S)
    page.on("filechooser", lambda chooser: None)  # who listens all the time is never late for a key that opens one
    return page


@pytest.fixture(scope="module")
def page(app, browser):
    "The page, opened, with what its console complained of in `page.complaints`, and what it asked for in `page.requests`"
    page = new_page(browser, viewport=dict(width=780, height=860), device_scale_factor=1.28)
    page.complaints, page.requests = [], []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda line: line.type in ("error", "warning") and page.complaints.append(line.text))
    page.on("request", lambda request: page.requests.append(request.url))
    page.on("dialog", lambda dialog: (page.complaints.append(f"a script ran: {dialog.message}"), dialog.dismiss()))
    page.goto(app.address)
    yield page
    assert page.complaints == []
    assert {url.partition(":")[0] for url in page.requests if not url.startswith(app.address + "/")} <= {"data"}


def answered(page):
    "Wait for an answer; the sentence and the bars that the page shows"
    page.wait_for_selector(".answer, .error")
    bars = [item.inner_text().split("\n") for item in page.query_selector_all(".bars li")]
    return page.inner_text(".answer, .error"), {bar[0].strip(): bar[-1].strip() for bar in bars}


def upload(page, name, content):
    "Give the page a file (its bytes, or where it lies), and wait until it has answered"
    page.evaluate("document.querySelectorAll('.answer, .error').forEach(e => e.remove())")
    with page.expect_file_chooser() as chooser: page.click("input[type=file]")
    chooser.value.set_files(content if isinstance(content, Path) else [dict(name=name, mimeType="audio/wav", buffer=content)])
    return answered(page)


def expected(path):
    "What the classifier itself answers"
    answer = EmotionClassifier.from_pretrained("acoustic").predict(path)
    return answer, {label: f"{round(100 * p)}%" for label, p in answer.probabilities.items()}


def test_a_page_without_code(page):
    assert page.title() == "Emotion in acted speech" == page.inner_text("h1") and "not for judging anybody" in page.inner_text(".limits")
    assert set(page.get_attribute("input", "accept").split(",")) == audio_suffixes()


def test_a_sample_is_answered(page):
    page.select_option("select", index=3)
    answered(page)
    assert len(page.query_selector_all(".bars li")) == 7 and page.query_selector("audio")
    name = page.inner_text(".name")
    upload(page, "x.wav", b"nothing")
    page.select_option("select", index=3)  # the same once more
    page.wait_for_selector(".answer")
    assert page.inner_text(".name") == name and "voice" in name


def test_the_keyboard_is_enough_and_what_changes_is_read_aloud(page):
    page.reload()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.labels[0].innerText").startswith("sample")
    page.keyboard.press("ArrowDown")
    answered(page)
    assert page.get_attribute(".answer", "role") == "status" and page.get_attribute(".bars li", "aria-label").endswith("%")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.labels[0].innerText").startswith("upload a recording")
    with page.expect_file_chooser() as chooser: page.keyboard.press("Enter")
    chooser.value.set_files([dict(name="x.wav", mimeType="audio/wav", buffer=b"nothing")])
    page.wait_for_selector(".error")
    assert page.get_attribute(".error", "role") == "alert" and page.input_value("select") == "" == page.input_value("input")


def test_a_long_sample_has_a_timeline(page):
    page.select_option("select", label=page.query_selector_all("option")[-1].inner_text())
    page.wait_for_selector("img[alt^='probabilities over time']")
    assert "windows with speech" in page.inner_text(".answer")


def test_whoever_chooses_again_gets_the_new_answer(browser, server, monkeypatch):
    "The first answer is there when its question has been given up, and before the second"
    begun, go, show = Event(), Event(), app_server.show
    def late(*args):
        if not begun.is_set():
            begun.set()
            go.wait(PATIENCE_S)
        return show(*args)
    monkeypatch.setattr(app_server, "show", late)
    page = new_page(browser)
    page.goto(f"http://127.0.0.1:{server.server_port}")
    page.select_option("select", index=3)
    assert begun.wait(PATIENCE_S)
    with page.expect_event("requestfailed"): page.select_option("select", index=2)
    go.set()
    chosen = page.evaluate("document.querySelector('select').selectedOptions[0].innerText")
    page.wait_for_selector(f".name:text-is('{chosen}')")
    assert page.inner_text(".name") == chosen
    page.close()


def test_an_upload_is_answered(page, small):
    clips = [sorted(small.glob("Actor_01/*.wav"))[7]]
    if place := os.environ.get("EMOTION_SER_RAVDESS"): clips.append(Path(place) / "Actor_05/03-01-05-02-01-01-05.flac")
    for clip in clips:
        sentence, bars = upload(page, clip.name, clip.read_bytes())
        answer, wanted = expected(clip)
        assert bars == wanted and answer.label in sentence and sentence.startswith("unsure") != answer.trusted
        assert page.evaluate("document.querySelector('img').naturalWidth") > 300
        page.wait_for_function("document.querySelector('audio').duration > 1")
    if shot := os.environ.get("EMOTION_SER_SCREENSHOT"):  # for the README: EMOTION_SER_SCREENSHOT=nbs/images/app.png
        page.mouse.move(0, 0)
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=shot)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg is found")
@pytest.mark.parametrize("suffix", [".m4a", ".webm"])
def test_what_phones_and_browsers_record_is_answered(page, small, tmp_path, suffix):
    clip, place = sorted(small.glob("Actor_02/*.wav"))[7], tmp_path / f"recorded{suffix}"
    subprocess.run(["ffmpeg", "-v", "error", "-i", clip, place], check=True)
    assert upload(page, place.name, place.read_bytes())[1] == expected(place)[1]


def test_what_cannot_be_read_is_a_sentence(page):
    sentence, bars = upload(page, "x.wav", b"These are notes, not a sound.")
    assert sentence == "x.wav cannot be read: not audio that libsndfile can read" and not bars
    assert upload(page, "empty.wav", b"")[0].startswith("empty.wav cannot be read: ")
    assert "Traceback" not in page.inner_text("body")


def test_a_name_is_only_a_name(page, small):
    clip = sorted(small.glob("Actor_01/*.wav"))[0]
    for name in ("<img src=x onerror=alert(1)>.wav", "a&sample=3#?%00+é😀.wav", "../../etc/passwd"):
        upload(page, name, clip.read_bytes())
        assert page.inner_text(".name") == name and not page.query_selector_all("img[src=x]")
    assert "<img src=x" in upload(page, "<img src=x onerror=alert(1)>.wav", b"nothing")[0]


def test_a_large_file_and_one_that_is_too_large(page, small, tmp_path):
    samples, _ = sf.read(sorted(small.glob("Actor_01/*.wav"))[0])
    sf.write(tmp_path / "large.wav", np.tile(samples.repeat(6)[:, None], (9, 6))[: 96000 * 9], 96000, subtype="FLOAT")
    assert 20_000_000 < (tmp_path / "large.wav").stat().st_size < MAX_UPLOAD_BYTES
    assert len(upload(page, "large.wav", tmp_path / "large.wav")[1]) == 7
    (tmp_path / "<b>huge.wav").write_bytes(bytes(MAX_UPLOAD_BYTES + 1000))
    for _ in range(2): assert upload(page, "", tmp_path / "<b>huge.wav")[0] == "<b>huge.wav cannot be read: it is larger than 30 MB"


def test_no_server_no_answer_but_a_sentence(browser, server):
    page = new_page(browser)
    page.goto(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()
    assert "the server is busy or has ended" in upload(page, "x.wav", b"nothing")[0]


def test_another_site_reads_nothing(app, browser):
    "A page of another origin, in the same browser, tries all that it can"
    context = browser.new_context()
    context.route("http://stranger.example/**", lambda route: route.fulfill(body="<p>a page</p>", content_type="text/html"))
    page = new_page(context)
    page.goto("http://stranger.example/")
    read = "(url, options) => fetch(url, options).then(reply => reply.text()).catch(() => 'nothing')"
    for options in ({}, dict(method="POST"), dict(method="POST", mode="no-cors"), dict(mode="no-cors"), dict(method="POST", headers={"X": "1"})):
        for address in (app.address, f"http://localhost:{app.port}"):
            assert page.evaluate(f"([url, options]) => ({read})(url, options)", [address + "/?sample=2", options]) in ("nothing", "")
    page.evaluate("""url => new Promise(done => {
      const frame = document.createElement('iframe');
      frame.onload = frame.onerror = () => done();
      frame.src = url;
      document.body.replaceChildren(frame) })""", app.address)
    assert len(page.frames) == 2 and all(not frame.query_selector("select") for frame in page.frames)
    page.evaluate("url => { document.body.innerHTML = `<form method=post action='${url}/?sample=2'>`; document.forms[0].submit() }", app.address)
    page.wait_for_url(app.address + "/**")
    assert "403" in page.inner_text("body") and not page.query_selector(".answer")
    context.close()


class Bell:
    "Stands in for a timer: it rings when the test says so"
    daemon = True

    def __init__(self, seconds, ring): self.seconds, self.ring = seconds, ring
    def start(self): self.started.put(self)
    def cancel(self): self.ring = lambda: None


@pytest.fixture
def server(monkeypatch, own_cache):
    "A server in this process whose patience ends when somebody calls `ring` of what is in `server.bells`"
    monkeypatch.setattr(app_server, "REQUEST_S", float(PATIENCE_S))
    monkeypatch.setattr(app_server, "Timer", Bell)
    Bell.started = Queue()
    with DemoServer(EmotionClassifier.from_pretrained("acoustic"), demo.sample_recordings()) as server:
        server.bells = Bell.started
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def everything(connection):
    "All that comes until the other side closes"
    answer = b""
    with suppress(ConnectionResetError):
        while block := connection.recv(2**16): answer += block
    return answer


def say(port, sent, bells=None):
    "Send bytes, ring the bell, and return all that comes back"
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        with suppress(OSError): connection.sendall(sent)  # it may be closed on us
        if bells is not None: bells.get().ring()
        return everything(connection)


def post(port, body=b"", query="name=x.wav", **headers):
    "Status, headers and text of the answer to a POST"
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("POST", f"/?{query}", body, headers)
    reply = connection.getresponse()
    return reply.status, dict(reply.getheaders()), reply.read().decode()


def status(answer): return int(answer[9:12]) if answer.startswith(b"HTTP/1.") else None


def test_twenty_visits_start_no_process_and_memory_stays_flat(app):
    process = psutil.Process(app.process.pid)
    def rss(): return process.memory_info().rss / 1e6
    for _ in range(3): post(app.port, query="sample=2")
    before = rss()
    for _ in range(20): assert b"Emotion in acted speech" in urllib.request.urlopen(app.address).read()
    visited = rss()
    for _ in range(10): post(app.port, query="sample=2")
    print(f"{before:.0f} MB, after 20 visits {visited:.0f} MB, after 10 answers {rss():.0f} MB")
    assert process.children(recursive=True) == [] and visited < before + 5 and rss() < before + 50


@pytest.mark.parametrize("head, wanted", [
    ("Host: stranger.example", 421), ("Host: stranger.example:{port}", 421), ("Host: 127.0.0.1", 421), ("Host: 127.0.0.1.stranger.example:{port}", 421),
    ("Host: 127.0.0.1:{port}\r\nHost: stranger.example", 421), ("X: 1", 421), ("Host: 0.0.0.0:{port}", 421), ("Host: stranger.example@127.0.0.1:{port}", 421),
    ("Host: 127.0.0.1:{port}\r\nOrigin: http://stranger.example", 403), ("Host: 127.0.0.1:{port}\r\nOrigin: null", 403),
    ("Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}.stranger.example", 403), ("Host: 127.0.0.1:{port}\r\nOrigin: http://localhost:{port}", 403),
    ("Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\nOrigin: http://stranger.example", 403),
    ("Host: 127.0.0.1:{port}", 200), ("Host: LOCALHOST:{port}\r\nOrigin: http://localhost:{port}", 200)])
def test_only_its_own_names_and_its_own_page_are_served(app, head, wanted):
    for method, body in (("GET", ""), ("POST", "Content-Length: 0\r\n")):
        answer = say(app.port, f"{method} /?sample=2 HTTP/1.1\r\n{head.format(port=app.port)}\r\n{body}\r\n".encode())
        assert status(answer) == wanted and b"access-control" not in answer.lower()
        assert b"Content-Security-Policy: default-src 'none'" in answer and b"Cross-Origin-Resource-Policy: same-origin" in answer
        assert (b"synthetic" in answer) == (wanted == 200)


@pytest.mark.parametrize("path", ["/../setup.py", "/%2e%2e/setup.py", "//etc/passwd", "/etc/passwd", "/?/../..", "http://127.0.0.1/", "*", "/" + "a" * 60000, "/\0"])
def test_no_path_leads_anywhere(app, path):
    for method in ("GET", "POST"):
        answer = say(app.port, f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{app.port}\r\nContent-Length: 0\r\n\r\n".encode("latin-1"))
        assert status(answer) == (200 if path.startswith("/?") else 404) and b"root:" not in answer and b"setuptools" not in answer


def test_samples_are_numbers(app):
    for query in ("sample=../../setup.py", "sample=-1", "sample=99999999999999999999", "sample=", "sample=%C2%B2", "a=b&" * 2000, "name=" + quote("é" * 3000), "%ff%00"):
        code, _, text = post(app.port, query=query)
        assert code == 200 and "cannot be read" in text


@pytest.mark.parametrize("head, wanted", [
    ("", 411), ("Content-Length: -1", 411), ("Content-Length: 1e3", 411), ("Content-Length: 4\r\nContent-Length: 5", 411), ("Content-Length: \xb2", 411),
    ("Transfer-Encoding: chunked", 411), ("Transfer-Encoding: chunked\r\nContent-Length: 4", 411), (f"Content-Length: {MAX_UPLOAD_BYTES + 1}", 413),
    ("Content-Length: " + "9" * 18, 413)])
def test_a_body_is_refused_by_its_length(server, head, wanted):
    host = f"Host: 127.0.0.1:{server.server_port}"
    assert status(say(server.server_port, f"POST / HTTP/1.1\r\n{host}\r\n{head}\r\n\r\nRIFF".encode("latin-1"))) == wanted


def test_a_body_that_does_not_come_in_time(server):
    request = f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\nContent-Length: 400\r\n\r\nRIFF"
    assert status(say(server.server_port, request.encode(), server.bells)) == 408


GARBAGE = [b"\0" * 100, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /\r\n\r\n", b"\r\n" * 10, b"A" * 70000,
           b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 200 + b"\r\n", b"GET / HTTP/1.1\r\n: :\r\n\r\n", b"GET / HTTP/1.1\r\nHost:" + b"h" * 70000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
           b"OPTIONS / HTTP/1.1\r\nOrigin: http://stranger.example\r\n\r\n", b"TRACE / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", "GÉT / HTTP/1.1\r\n\r\n".encode()]


def test_garbage_is_refused(server, capfd):
    for sent in GARBAGE:
        answer = say(server.server_port, sent, server.bells)
        assert status(answer) not in (200, 500) and b"synthetic" not in answer and b"access-control" not in answer.lower()
    assert post(server.server_port, query="sample=2")[0] == 200
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("part", [b"GET / HT", b"GET / HTTP/1.1\r\nX: 1\r\n", b"POST / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 1000\r\n\r\n"])
def test_who_is_slow_holds_nothing(server, part):
    "Neither silence nor a byte now and then keeps a connection, or the turn: there is one bell for a whole request"
    port, part = server.server_port, part.replace(b"%d", b"%d" % server.server_port)
    def connect(): return stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S))
    with ExitStack() as stack:
        slow = [connect() for _ in range(CONNECTIONS)]
        bells = [server.bells.get() for _ in slow]  # every place is taken
        assert {bell.seconds for bell in bells} == {app_server.REQUEST_S}
        for connection in slow: connection.sendall(part)
        assert all(everything(connect()) == b"" for _ in range(4))  # there is none left
        for _ in range(10):
            for connection in slow: connection.sendall(b"a")
        assert server.bells.empty()
        for bell in bells: bell.ring()
        assert 200 not in {status(everything(connection)) for connection in slow}
        while server.places._value < CONNECTIONS: time.sleep(0.01)  # given back just after
        assert "answer" in post(port, query="sample=2")[2]


class CountedTurn:
    "A turn that notes who found it taken, and who waited in vain"
    def __init__(self, lock): self.lock, self.found, self.in_vain = lock, [], 0
    def release(self): self.lock.release()

    def locked(self):
        self.found.append(self.lock.locked())
        return self.found[-1]

    def acquire(self, **options):
        done = self.lock.acquire(**options)
        self.in_vain += not done
        return done


def test_two_at_once_take_turns(server, small, monkeypatch):
    clips = sorted(small.glob("Actor_01/*.wav"))[:3]
    alone = [post(server.server_port, clip.read_bytes())[2].splitlines()[-1] for clip in clips]
    working, most, answers, show = [], [], {}, app_server.show
    turn = server.turn = CountedTurn(server.turn)

    def counted(*args):
        working.append(1)
        most.append(len(working))
        while len(turn.found) < 3 or not turn.in_vain: time.sleep(0.01)  # the others have come, and wait
        answer = show(*args)
        working.pop()
        return answer

    monkeypatch.setattr(app_server, "show", counted)
    threads = [Thread(target=lambda i=i: answers.update({i: post(server.server_port, clips[i].read_bytes())[2]})) for i in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert [answers[i].splitlines()[-1].strip() for i in range(3)] == alone and max(most) == 1
    assert sum("another recording comes first" in answer for answer in answers.values()) == 2


def test_who_has_gone_is_dropped(server, monkeypatch):
    "A long recording whose browser has gone gives up its turn"
    ended = Queue()
    def long(classifier, sound, name, report):
        try:
            while True:
                report("listening")
                time.sleep(0.01)
        except OSError: ended.put(name)
        return ""
    with monkeypatch.context() as patch:
        patch.setattr(app_server, "show", long)
        with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
            connection.sendall(f"POST /?name=gone HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\nContent-Length: 0\r\n\r\n".encode())
            answer = b""
            while answer.count(b"<p ") < 2: answer += connection.recv(1000)  # the second is from `long`
        assert ended.get(timeout=PATIENCE_S) == "gone"
    assert "answer" in post(server.server_port, query="sample=2")[2]


def test_a_port_that_is_taken_is_a_sentence(app):
    process = start(app.port)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode and err.splitlines()[-1] == f"port {app.port}: Address already in use; choose another, such as make demo PORT=8867" and not out


def test_without_ffmpeg_the_sentence_says_how_to_convert(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    page = demo.show(EmotionClassifier.from_pretrained("acoustic"), b"\0\0\0\x20ftypM4A " + bytes(100), "voice.m4a")
    assert "voice.m4a cannot be read: needs ffmpeg" in page and "ffmpeg -i recording recording.wav" in page
    assert "M4A" not in demo.accepted_formats()[1]
