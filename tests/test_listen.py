"""The page that listens, as a person meets it: built once without Sphinx, served below a folder, in one headless Chromium whose microphone is a file."""
import base64
import io
import os
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import torch
from conftest import PATIENCE_S, ROOT, run

from emotion_ser.classifier import EmotionClassifier
from emotion_ser.portable import OneFile
from emotion_ser.shift import estimate_shift, no_shift
from emotion_ser.sounds import NO_SPEECH
from emotion_ser.windows import cut_windows, levels, utterance
from emotion_ser.codec import open_recording

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
VENDOR = ROOT / "docs/vendor"
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is found")
ENCODER = os.environ.get("EMOTION_SER_ENCODER")
CLOSE = 0.02  # by how much a browser, which resamples in its own way, may differ from Python
AXE = "async () => (await axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})).violations.map(v => `${v.id}: ${v.nodes[0].html.slice(0, 150)}`)"


@pytest.fixture(scope="module")
def clips(small): return sorted(small.glob("Actor_01/*.wav"))


@pytest.fixture(scope="module")
def five_minutes(clips, tmp_path_factory):
    "Five minutes of a quiet room, in which somebody speaks twice"
    sound = np.random.default_rng(0).normal(0, 3e-4, 300 * 16000)
    spoken = np.concatenate([np.pad(sf.read(clip)[0], (0, 8000)) for clip in clips[10:16]])
    for start in (20, 241): sound[start * 16000:][:len(spoken)] += spoken
    path = tmp_path_factory.mktemp("long") / "five minutes.wav"
    sf.write(path, sound, 16000)
    return path


@pytest.fixture(scope="module")
def site(listening, tmp_path_factory):
    "What a static host serves: the page lies some folders below its root"
    folder = tmp_path_factory.mktemp("site")
    (folder / "some/base").mkdir(parents=True)
    (folder / "some/base/listen").symlink_to(listening)
    return folder


@pytest.fixture(scope="module")
def opened(site, clips):
    "A browser whose microphone hears a clip again and again, and a server of static files: `opened(...)` gives a page that is ready, with what its console complained of"
    from playwright.sync_api import sync_playwright
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *args: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}/some/base/listen/"
    microphone = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", f"--use-file-for-fake-audio-capture={clips[7]}"]
    alone = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", alone, *microphone], timeout=1000 * PATIENCE_S)

        def opened(script="", wait="body[data-ready~=acoustic]", **options):
            context = browser.new_context(**options)
            page = context.new_page()
            page.set_default_timeout(1000 * PATIENCE_S)
            page.complaints, page.requests = [], []
            page.on("filechooser", lambda chooser: None)  # who listens all the time is never late for a key that opens one
            page.on("pageerror", lambda error: page.complaints.append(str(error)))
            page.on("console", lambda line: line.type in ("error", "warning") and page.complaints.append(line.text))
            context.on("request", lambda request: page.requests.append(request.url))
            if script: page.add_init_script(script)
            page.goto(base)
            page.wait_for_selector(wait)
            return page

        yield opened
        browser.close()
    server.shutdown()


@pytest.fixture(scope="module")
def page(opened):
    "One page for most of the tests; nothing complains, and nothing is asked of anybody but its own origin"
    page = opened(viewport=dict(width=900, height=900))
    yield page
    base = page.url
    assert page.complaints == [] and len(page.requests) > 10
    assert [url for url in page.requests if not url.startswith((base, f"blob:{base.partition('/some')[0]}/"))] == []


@pytest.fixture(scope="module")
def classifier(): return EmotionClassifier.from_pretrained("acoustic")


def answered(page, act):
    "Do something, and wait for the answer or the sentence that says why there is none"
    page.evaluate("document.querySelector('#problem').textContent = ''")
    count = int(page.get_attribute("body", "data-answers") or 0)
    act()
    page.wait_for_selector(f"body[data-answers='{count + 1}'], #problem:not(:empty)")
    if problem := page.inner_text("#problem"): return SimpleNamespace(problem=problem)
    labels = [item.inner_text() for item in page.query_selector_all("#bars li > span:first-child")]
    widths = [float(rect.get_attribute("width")) / 100 for rect in page.query_selector_all("#bars rect")]
    return SimpleNamespace(problem="", name=page.inner_text("#name"), headline=page.inner_text("#headline"), why=page.inner_text("#why"),
                           facts=page.inner_text("#facts"), bars=dict(zip(labels, widths)))


def heard(page, *files):
    "The answer to files that are chosen: paths, or name and content"
    given = [file if isinstance(file, Path) else dict(name=file[0], mimeType="audio/wav", buffer=file[1]) for file in files]
    return answered(page, lambda: page.set_input_files("#file", given))


def like(answer, wanted, close=CLOSE):
    "An answer of the page says what Python's does"
    assert not answer.problem and [*answer.bars] == [*wanted.probabilities]
    np.testing.assert_allclose([*answer.bars.values()], [*wanted.probabilities.values()], rtol=0, atol=close)
    sure = wanted.confidence, wanted.trusted
    if abs(wanted.confidence - 0.5) > close: assert answer.headline.startswith(wanted.label if wanted.trusted else "unsure"), sure


def wav(samples, rate=16000, subtype="PCM_16"):
    "The bytes of a file"
    out = io.BytesIO()
    sf.write(out, samples, rate, format="WAV", subtype=subtype)
    return out.getvalue()


def test_it_says_what_it_learned_from_and_how_often_it_is_right(page, classifier):
    assert page.title().startswith("Listen") and page.inner_text("h1") == "Emotion in acted speech"
    said, measured = page.inner_text("#worth"), classifier.info.measured
    for word in ("RAVDESS", "EmoDB", "EMOVO", "nEMO", "49 actors", f"{measured['accuracy'][0]:.0%}", f"{measured['accuracy_when_answered']:.0%}", "CC BY-NC-SA 4.0"): assert word in said
    assert len(page.query_selector_all("#worth tbody tr")) == 4 and page.is_checked("input[value=acoustic]")
    assert (page.locator("input[value=whisper-base]").count() == 1) == bool(ENCODER) != ("not part of this build" in page.inner_text("#models"))


def test_a_recording_of_the_microphone(page, classifier, tmp_path):
    page.click("#record")
    page.wait_for_selector("body.recording")
    page.wait_for_selector("#record-hint:text-matches('^[2-9]')")
    assert page.inner_text("#record-text") == "Stop"
    answer = answered(page, lambda: page.click("#record"))
    with page.expect_download() as kept: page.click("#save")
    kept.value.save_as(tmp_path / kept.value.suggested_filename)
    samples, _ = sf.read(tmp_path / "recording.wav")
    assert np.abs(samples).max() > 0.05 and answer.name == "your recording" and page.inner_text("#record-text") == "Record"
    like(answer, classifier.predict(tmp_path / "recording.wav"))


def test_a_file(page, clips, classifier):
    for clip in clips[3:40:12]:
        answer = heard(page, clip)
        like(answer, classifier.predict(clip))
        assert answer.name == clip.name and "speech found" in answer.facts
    page.wait_for_selector("#wave path")
    assert page.evaluate("new Promise(done => { const p = document.querySelector('audio'); p.readyState ? done(p.duration) : p.onloadedmetadata = () => done(p.duration) })") == pytest.approx(sf.info(clip).duration, abs=0.1)
    assert page.is_hidden("#save") and page.is_hidden("#timeline")


def test_a_file_that_is_dropped(page, clips, classifier):
    drop = """([name, bytes]) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([Uint8Array.from(bytes)], name));
      document.querySelector('h1').dispatchEvent(new DragEvent('drop', {dataTransfer, bubbles: true, cancelable: true})) }"""
    answer = answered(page, lambda: page.evaluate(drop, [clips[9].name, list(clips[9].read_bytes())]))
    like(answer, classifier.predict(clips[9]))
    assert answer.name == clips[9].name


def test_real_voices(page, classifier):
    if not (place := os.environ.get("EMOTION_SER_RAVDESS")): pytest.skip("EMOTION_SER_RAVDESS names no folder")
    for clip in sorted(Path(place).glob("Actor_0[57]/*"))[5::25]: like(heard(page, clip), classifier.predict(clip))


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg is found")
@pytest.mark.parametrize("suffix, kind", [(".m4a", 'audio/mp4; codecs="mp4a.40.2"'), (".webm", 'audio/webm; codecs="opus"'), (".mp3", "audio/mpeg")])
def test_what_phones_and_browsers_record(page, clips, classifier, tmp_path, suffix, kind):
    path = tmp_path / f"voice{suffix}"
    subprocess.run(["ffmpeg", "-v", "error", "-i", clips[7], path], check=True)
    answer = heard(page, path)
    if page.evaluate("kind => new Audio().canPlayType(kind)", kind): like(answer, classifier.predict(path), 0.1)  # a codec's first samples, and its end, are cut off differently
    else: assert answer.problem == f"{path.name} cannot be read: this browser finds no sound in it that it can decode"


@pytest.mark.parametrize("name, content, reason", [
    ("notes.txt", b"These are notes, not a sound.", "this browser finds no sound in it that it can decode"), ("empty.wav", b"", "it is empty"),
    ("silence.wav", wav(np.zeros(16000)), "digital silence, every sample is zero: is the microphone muted?"),
    ("click.wav", wav(np.full(160, 0.1)), "0.010 s are too short, 0.025 s are the least"),
    ("<img src=x onerror=alert(1)>.wav", wav(np.full(16000, np.nan), subtype="FLOAT"), "it holds samples that are not numbers")])
def test_what_cannot_be_answered_is_a_sentence(page, name, content, reason):
    assert heard(page, (name, content)).problem == f"{name} cannot be read: {reason}"
    assert page.get_attribute("#problem", "role") == "alert" and page.locator("img[src=x]").count() == 0


def test_a_telephone_is_no_speech(page, classifier, tmp_path):
    ring = NO_SPEECH["ring-tone"](np.random.default_rng(1))
    answer, wanted = heard(page, ("ring.wav", wav(ring))), classifier.predict((ring, 16000))
    assert wanted.why == "no speech found" and answer.headline == "unsure; no speech found" and "no speech found" in answer.facts
    like(answer, wanted)
    assert answered(page, lambda: page.get_by_role("button", name="a telephone").click()).headline.startswith("unsure")


def test_samples_are_answered(page):
    for button in page.query_selector_all("#samples button")[:2]:
        answer = answered(page, button.click)
        assert answer.name == button.inner_text() and sum(answer.bars.values()) == pytest.approx(1, abs=1e-3)


def test_five_minutes(page, five_minutes, classifier):
    answer, wanted, rows = heard(page, five_minutes), classifier.predict(five_minutes), classifier.timeline(five_minutes)
    like(answer, wanted)
    assert answer.facts.startswith("5:00 min, speech found in ") and f"the mean of {wanted.windows} windows" in answer.facts
    assert page.locator(".strip").count() == 7 and page.locator(".strip").first.locator("rect").count() == rows.confidence.count()
    assert page.inner_text("#timeline .axis").split() == ["0:00", "1:00", "2:00", "3:00", "4:00"]
    page.click("summary")
    assert page.locator("#timeline tbody tr").count() < 40 and page.inner_text("#timeline tbody td:nth-child(2)") == "no speech"
    page.get_by_role("button", name="play from 0:00").click()
    page.wait_for_selector(".head[style*='left: 0.']")
    page.evaluate("document.querySelector('audio').pause()")


def test_whoever_chooses_again_gets_the_new_answer(page, five_minutes, clips):
    page.set_input_files("#file", five_minutes)
    page.wait_for_selector("#status:has-text('Listening to five minutes.wav')")
    answer = heard(page, clips[0])
    assert answer.name == clips[0].name == page.inner_text("#name") and page.is_hidden("progress")


def test_windows_are_those_of_python(page, five_minutes, clips):
    speech, long = sf.read(clips[5], dtype="float32")[0], sf.read(five_minutes, dtype="float32")[0][14 * 16000:][:300_123]
    call = "async (text) => { const m = await import('./windows.js'), x = new Float32Array(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer); return %s }"
    sent = lambda samples: base64.b64encode(np.ascontiguousarray(samples, "<f4").tobytes()).decode()
    for samples in (speech, speech[:300], long[90_000:200_000]):
        np.testing.assert_allclose(page.evaluate(call % "m.levels(x)", sent(samples)), levels(samples, 16000), rtol=0, atol=1e-6)
        assert page.evaluate(call % "m.utterance(x).length", sent(samples)) == len(utterance(samples, 16000))
    with open_recording((long, 16000)) as recording: wanted = [(w.start, w.end, w.speech) for w in cut_windows(recording)]
    found = page.evaluate(call % "[...m.cutWindows(x)].map(w => [w.start, w.end, w.speech])", sent(long))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)
    assert len({speech for _, _, speech in wanted}) > 5


def test_a_source_is_where_python_finds_it(page, classifier):
    head, rng = classifier.head, np.random.default_rng(0)
    for n, spread in ((1, 1.0), (6, 1.0), (25, 1.0), (8, 0.05)):
        vectors = (head.network.mean + head.network.scale * torch.from_numpy(rng.normal(0.3, 1, (1, 1116)) + spread * rng.normal(size=(n, 1116)))).float()
        with torch.inference_mode(): parts = head.parts(vectors).transpose(0, 1).double().tolist()
        shift, found = estimate_shift(head, vectors.numpy()), page.evaluate("""async (parts) => {
            const m = await import('./adapt.js'), head = (await (await fetch('site.json')).json()).models[0].adapt, shift = m.estimateShift(head, parts);
            return {...shift, alone: parts.map(z => m.forward(head, m.noShift(head), z)), moved: parts.map(z => m.forward(head, shift, z))} }""", parts)
        for name in ("offsets", "means", "share", "follow", "most"): np.testing.assert_allclose(found[name], getattr(shift, name), rtol=0, atol=1e-3, err_msg=name)
        assert classifier.labels[found["label"]] == shift.label and found["recordings"] == n
        with torch.inference_mode(): alone, moved = head.at_source(no_shift(head))(vectors), head.at_source(shift)(vectors)
        np.testing.assert_allclose(found["alone"], alone, rtol=0, atol=1e-3)
        np.testing.assert_allclose(found["moved"], moved, rtol=0, atol=2e-3)


def test_more_of_the_same_voice(page, clips, classifier):
    heard(page, clips[2])
    answered(page, lambda: page.check("#same"))
    for clip in clips[12:36:8]: answer = heard(page, clip)
    voice = [clips[2], *clips[12:36:8]]
    like(answer, classifier.adapt(voice, report=lambda sentence: None).predict(voice[-1]))
    rows = [row.inner_text().split("\t") for row in page.query_selector_all("#recordings tbody tr")]
    assert [row[0] for row in rows] == [clip.name for clip in voice] and "adapted to 4 recordings" in answer.facts
    assert all(row[1].startswith(classifier.predict(clip).label) for row, clip in zip(rows, voice))
    alone = answered(page, lambda: page.get_by_role("button", name="Begin with another voice").click())
    like(alone, classifier.predict(voice[-1]))
    assert not page.is_checked("#same") and page.inner_text("#recordings") == ""


def test_the_keyboard_is_enough_and_what_changes_is_read_aloud(page, clips):
    page.reload()
    page.wait_for_selector("body[data-ready~=acoustic]")
    focused = "document.activeElement.labels?.[0]?.innerText || document.activeElement.innerText"
    stops = []
    while not stops or stops[-1].split()[0] != "acoustic":
        page.keyboard.press("Tab")
        stops.append(page.evaluate(focused))
        if stops[-1].startswith("Choose a file"):
            with page.expect_file_chooser() as chooser: page.keyboard.press("Enter")
            answered(page, lambda: chooser.value.set_files(clips[1]))
    assert [stop.split("\n")[0] for stop in stops[:3]] == ["emotion_ser", "Record", "Choose a file or drop it here"] and len(stops) == 8
    assert all(page.get_attribute(place, "role") == "status" for place in ("#headline", "#status"))
    assert page.get_attribute("#wave svg", "aria-label") == "the waveform"


@pytest.mark.parametrize("error, words", [("NotAllowedError", "The microphone was refused. Allow it"), ("NotFoundError", "No microphone was found."), ("NotReadableError", "another program")])
def test_a_refused_microphone_is_a_sentence(opened, error, words):
    page = opened(f"navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('no', '{error}') }}", wait="#samples button")
    page.click("#record")
    page.wait_for_selector("#problem:not(:empty)")
    assert words in page.inner_text("#problem") and "hoose a file" in page.inner_text("#problem") and page.inner_text("#record-text") == "Record"
    page.context.close()


def test_a_classifier_that_does_not_come_is_a_sentence_and_comes_when_asked_again(opened, clips):
    page = opened("window.fetch = (real => url => /onnx/.test(url) && !window.back ? Promise.reject(new TypeError('gone')) : real(url))(fetch)", wait="#problem:not(:empty)")
    assert page.inner_text("#problem") == "acoustic.onnx could not be fetched; is the connection gone? Reload the page to try again."
    page.evaluate("window.back = true")
    assert len(heard(page, clips[0]).bars) == 7
    page.context.close()


@pytest.mark.parametrize("scheme, ground", [("light", "rgb(246, 247, 249)"), ("dark", "rgb(20, 24, 29)")])
def test_everybody_can_read_it(opened, clips, five_minutes, scheme, ground):
    "WCAG A and AA, contrast included, in light and dark; a phone does not scroll sideways"
    page = opened(bypass_csp=True, color_scheme=scheme, viewport=dict(width=900, height=844), reduced_motion="reduce")
    page.add_script_tag(path=VENDOR / "axe.min.js")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ground
    assert page.evaluate("getComputedStyle(document.querySelector('#record')).transitionDuration") == "0s"
    heard(page, clips[7])
    answered(page, lambda: page.check("#same"))
    heard(page, ("twelve seconds.wav", wav(sf.read(five_minutes, 12 * 16000, 19 * 16000)[0])))
    page.click("summary")
    heard(page, ("notes.txt", b"nothing"))
    page.click("#record")
    page.wait_for_selector("body.recording")
    for width in (320, 390, 900):
        page.set_viewport_size(dict(width=width, height=844))
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if width != 390: assert page.evaluate(AXE) == []
    answered(page, lambda: page.click("#record"))
    page.context.close()


@pytest.mark.skipif(not ENCODER, reason="EMOTION_SER_ENCODER names no folder")
def test_the_larger_classifier_comes_when_it_is_chosen(page, site, clips):
    first = heard(page, clips[7])
    assert not [url for url in page.requests if "whisper" in url]
    answer, file = answered(page, lambda: page.check("input[value=whisper-base]")), OneFile(site / "some/base/listen/whisper-base.int8.onnx")
    assert answer.name == first.name and "whisper-base" in answer.facts and page.is_hidden("progress")
    like(answer, file.predict(clips[7]))
    page.check("input[value=acoustic]")


def test_make_demo_serves_it_to_this_machine_alone():
    recipe = run("make", "-n", "demo", "PORT=8123", "BIN=bin", cwd=ROOT, check=True).stdout
    assert "bin/python docs/listen.py _docs/listen" in recipe and "-m http.server --bind 127.0.0.1 --directory _docs/listen 8123" in recipe
