"""The odd files: every kind of recording, broken recording and thing that is none, made here from a synthetic voice, with what is right for each.

    python tests/odd_files.py OUT            # make them: a folder for each kind in OUT/files and OUT/places
    python tests/odd_files.py OUT --table    # and run every command over them, write OUT/table.md; --light: without what takes minutes

`whole`: must be decoded, with its whole length and nearly the same sound. `refuse`: must be refused, with a reason that matches `says`.
`either`: nobody can know, or both are sensible (`note` says why); but every command must do the same. `long`: more than a clip, so that
`predict` answers, and what takes clips as a whole refuses.
"""
import argparse
import io
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile as sf

RATE, SECONDS = 16000, 3.0
FFMPEG, SOX = shutil.which("ffmpeg"), shutil.which("sox")


# ---------------------------------------------------------------- the voice, and files of it

NOW = [0]  # the seed of the voice's faint noise where none is given; where files stand in one list, each has its own, or they would be copies


def by_seed(make):
    "Cached, with the seed of the moment if none is given"
    made = cache(make)
    return lambda *args, seed=None, **options: made(*args, seed=NOW[0] if seed is None else seed, **options)


@by_seed
def voice(rate=RATE, seconds=SECONDS, seed=0):
    "A buzz of gliding pitch through two moving resonances, in syllables; loud at its very end; [n_samples] float32, peak 0.5"
    t = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * (120 * t + 25 * np.sin(2 * np.pi * 0.4 * t))
    sound = np.zeros(len(t))
    for k in range(1, 1 + min(24, max(1, int(rate / 2.4 / 190)))):
        hertz = k * (120 + 63 * np.cos(2 * np.pi * 0.4 * t))
        sound += (np.exp(-(((hertz - 600 - 200 * np.sin(9 * t)) / 250) ** 2)) + np.exp(-(((hertz - 1700) / 400) ** 2)) + 0.05) * np.sin(k * phase)
    sound *= 0.1 + np.abs(np.cos(2 * np.pi * 1.5 * t))
    sound = 0.5 * sound / np.abs(sound).max() if len(t) > 1 else sound + 0.5
    return (sound + np.random.default_rng(seed).uniform(-2e-3, 2e-3, len(t))).astype(np.float32)


@by_seed
def sound(form="WAV", subtype="PCM_16", rate=RATE, seconds=SECONDS, channels=1, seed=0, gain=1.0, **options):
    "The bytes of a file that libsndfile writes"
    samples = np.repeat(voice(rate, seconds, seed=seed)[:, None], channels, 1) * np.float32(gain)
    with tempfile.TemporaryDirectory() as folder:
        sf.write(f"{folder}/x", samples, rate, format=form, subtype=subtype, **options)
        return Path(f"{folder}/x").read_bytes()


def written(samples, rate=RATE, subtype="FLOAT", form="WAV"):
    "The bytes of a file of these samples"
    out = io.BytesIO()
    sf.write(out, samples, rate, format=form, subtype=subtype)
    return out.getvalue()


@by_seed
def ffmpeg(suffix="", *options, pipe=False, before=(), rate=RATE, seed=0):
    "The bytes that ffmpeg makes of the voice; `pipe`: into a pipe, where no length can be written afterwards"
    with tempfile.TemporaryDirectory() as folder:
        Path(f"{folder}/in.wav").write_bytes(sound(rate=rate, seed=seed))
        command = [FFMPEG, "-v", "error", "-y", *before, "-i", f"{folder}/in.wav", "-fflags", "+bitexact", "-flags:a", "+bitexact", *options]
        done = subprocess.run([*command, "pipe:1" if pipe else f"{folder}/out.{suffix}"], stdin=subprocess.DEVNULL, capture_output=True, check=True)
        return done.stdout if pipe else Path(f"{folder}/out.{suffix}").read_bytes()


@by_seed
def sox(*options, seed=0):
    "The bytes that SoX writes into a pipe"
    return subprocess.run([SOX, "-t", "wav", "-", *options, "-"], input=sound(seed=seed), capture_output=True, check=True).stdout


def chunk(name, data, size=None, pad=True):
    "A RIFF chunk"
    return name + struct.pack("<I", len(data) if size is None else size) + data + b"\0" * (pad and len(data) % 2)


def riff(*chunks, size=None):
    "A WAV file of chunks"
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def fmt(rate=RATE, channels=1, bits=16, code=1):
    "WAV's format chunk"
    return chunk(b"fmt ", struct.pack("<HHIIHH", code, channels, rate & 0xFFFFFFFF, rate * channels * bits // 8 & 0xFFFFFFFF, channels * bits // 8, bits))


def pcm(seed=None, seconds=SECONDS, dtype="<i2"):
    "The voice as 16-bit integers"
    return (voice(seconds=seconds, seed=seed) * 32767).astype(dtype).tobytes()


def patch(data, at, new):
    "Bytes with some of them exchanged"
    return data[:at] + new + data[at + len(new):]


# ---------------------------------------------------------------- inside MP3, OGG, FLAC

def mp3_frames(data):
    "Where the frames of an MP3 begin, and where the last one ends"
    at, found = 0, []
    if data[:3] == b"ID3": at = 10 + sum((data[6 + i] & 0x7F) << 7 * (3 - i) for i in range(4))
    rates = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
    kbits = {True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320), False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)}
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] >= 0xE0:
        version = data[at + 1] >> 3 & 3
        found.append(at)
        at += ((144 if version == 3 else 72) * kbits[version == 3][data[at + 2] >> 4] * 1000 // rates[version][data[at + 2] >> 2 & 3]) + (data[at + 2] >> 1 & 1)
    return [*found, at]


def bare_mp3(data):
    "An MP3 without the frame that says how long it is"
    frames = mp3_frames(data)
    assert b"Xing" in data[frames[0]:frames[1]] or b"Info" in data[frames[0]:frames[1]]
    return data[frames[1]:]


def ogg_pages(data):
    "Where the pages of an OGG begin"
    return [found.start() for found in re.finditer(b"OggS\0", data)]


def flac_frames(data):
    "Where the frames of a FLAC of at most 127 frames begin"
    first, found = re.search(rb"\xff\xf8..\0", data, re.S).start(), []
    while True:
        at = data.find(data[first:first + 2], (found[-1] + 1) if found else first)
        while at >= 0 and data[at + 4] != len(found): at = data.find(data[first:first + 2], at + 1)
        if at < 0: return found
        found.append(at)


def of_unknown_length(flac, md5=True):
    "A FLAC whose header does not say how many samples there are, as a stream's"
    eight, = struct.unpack(">Q", flac[18:26])
    flac = patch(flac, 18, struct.pack(">Q", eight >> 36 << 36))
    return flac if md5 else patch(flac, 26, bytes(16))


def damaged(data, at=0.5, n=60):
    "Bytes of which some in the middle were overwritten"
    return patch(data, int(at * len(data)), bytes(7 * i % 256 for i in range(n)))


def vbri(data):
    "An MP3 whose length stands in a frame as Fraunhofer's encoder writes it"
    frames = mp3_frames(data)
    promise = b"VBRI" + struct.pack(">HHHIIHHHH", 1, 0, 50, len(data) - frames[1], len(frames) - 2, 0, 1, 2, 1)
    first = (data[frames[0]:frames[0] + 4] + bytes(32) + promise).ljust(frames[1] - frames[0], b"\0")
    return first[:frames[1] - frames[0]] + data[frames[1]:]


def sphere_shortened():
    "The header of a NIST SPHERE file whose samples are compressed, as TIMIT's and WSJ's are, and some bytes"
    head = "NIST_1A\n   1024\nsample_count -i 48000\nsample_rate -i 16000\nchannel_count -i 1\nsample_n_bytes -i 2\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n"
    return head.encode().ljust(1024, b" ") + b"ajkg\2" + NOISE[:30000]


def id3(size=200_000):
    "An ID3v2.3 tag with a picture"
    picture = b"\0image/png\0\3\0" + png() + bytes(size)
    frame = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    return b"ID3\3\0\0" + bytes(len(frame) >> 7 * (3 - i) & 0x7F for i in range(4)) + frame


def png():
    "A picture of one dot"
    part = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)) + part(b"IDAT", zlib.compress(bytes(4))) + part(b"IEND", b"")


def zipped(name):
    "A ZIP with a WAV in it"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive: archive.writestr(zipfile.ZipInfo(name), sound())
    return out.getvalue()


# ---------------------------------------------------------------- the kinds

@dataclass(frozen=True)
class Kind:
    "A file, and what is right for it"
    slug: str  # names its folder, and the kind in the table
    name: str  # of the file
    right: str  # whole, refuse, either or long
    make: Callable  # gives its bytes; of a place: makes it at a path
    says: str = ""  # what the reason must match, if it is refused
    seconds: float = SECONDS
    rate: int = RATE  # Hz
    within: float = 0.002  # s that the duration may be off
    like: float = 0.99  # least correlation with the voice in each quarter; 0: not compared
    gain: float | None = 1.0  # of the voice; None: not compared
    needs: str | None = ""  # a program; None: it is not on this machine
    content: bool = False  # what is wrong is not the file, but what is to be decoded: decoders alone may give it
    place: bool = False  # not a regular file, or one that is not simply read
    heavy: bool = False  # takes long: only for the table
    note: str = ""  # why this is right, if that can be doubted


KINDS: list[Kind] = []
NOISE = np.random.default_rng(5).bytes(100_000)
CUT = "cut short"
NONE = "not audio|cannot be read|no sound|cannot read"
LOSSY = dict(within=0.15, like=0.75, gain=None)


def kind(slug, name, right, make, says="", **more):
    "Add a kind"
    assert slug not in {k.slug for k in KINDS}, slug
    KINDS.append(Kind(slug, name, right, make, says, **more))


def whole(slug, name, make, **more): kind(slug, name, "whole", make, **more)
def refuse(slug, name, make, says, **more): kind(slug, name, "refuse", make, says, **more)


def cut(slug, where, source, at, says=CUT, right="refuse", **more):
    "The beginning of another kind's file"
    k = next(k for k in KINDS if k.slug == (source or slug))
    kind(f"{slug}, {where}", k.name, right, lambda: (data := k.make())[: at(data)], says, rate=k.rate, needs=k.needs, **more)


half, nearly, header = (lambda d: len(d) // 2 - 13), (lambda d: len(d) - len(d) // 100), (lambda d: 20)

# what libsndfile writes
for subtype, more in dict(PCM_U8=dict(like=0.97), PCM_16={}, PCM_24={}, PCM_32={}, FLOAT={}, DOUBLE={}, ULAW={}, ALAW={}, IMA_ADPCM=dict(within=0.07),
                          MS_ADPCM=dict(within=0.07), GSM610=dict(within=0.03, like=0.85, gain=None), G721_32={}, NMS_ADPCM_16=dict(within=0.02, like=0.7, gain=None),
                          NMS_ADPCM_24=dict(within=0.02, like=0.85, gain=None), NMS_ADPCM_32=dict(within=0.02, like=0.9, gain=None)).items():
    whole(f"WAV {subtype}", "clip.wav", lambda s=subtype: sound("WAV", s), **more)
for form, subtype, name, more in (
        ("WAVEX", "PCM_16", "clip.wav", {}), ("RF64", "PCM_16", "clip.rf64", {}), ("W64", "PCM_16", "clip.w64", {}), ("AIFF", "PCM_16", "clip.aiff", {}),
        ("AIFF", "PCM_24", "clip.aif", {}), ("AIFF", "FLOAT", "clip.aifc", {}), ("AIFF", "ULAW", "clip.aifc", {}), ("AIFF", "IMA_ADPCM", "clip.aifc", dict(within=0.07)),
        ("AU", "PCM_16", "clip.au", {}), ("AU", "ULAW", "clip.snd", {}), ("CAF", "PCM_16", "clip.caf", {}), ("CAF", "ALAC_16", "clip.caf", {}),
        ("FLAC", "PCM_16", "clip.flac", {}), ("FLAC", "PCM_24", "clip.flac", {}), ("OGG", "VORBIS", "clip.ogg", dict(LOSSY, within=0.002)),
        ("OGG", "OPUS", "clip.opus", dict(LOSSY, within=0.01)), ("NIST", "PCM_16", "clip.sph", {}), ("SVX", "PCM_16", "clip.8svx", {}), ("HTK", "PCM_16", "clip.htk", {})):
    whole(f"{form} {subtype}", name, lambda f=form, s=subtype: sound(f, s), **more)
whole("WAV MPEG_LAYER_III", "clip.wav", lambda: ffmpeg("wav", "-c:a", "libmp3lame"), needs="ffmpeg", **LOSSY)
whole("MP3 constant rate", "clip.mp3", lambda: sound("MP3", "MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=0.5), **LOSSY)
whole("MP3 variable rate", "clip.mp3", lambda: sound("MP3", "MPEG_LAYER_III", bitrate_mode="VARIABLE"), **LOSSY)
whole("MP3 constant rate, no length", "clip.mp3", lambda: bare_mp3(sound("MP3", "MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=0.5)), **LOSSY)
whole("MP3 variable rate, no length", "clip.mp3", lambda: bare_mp3(sound("MP3", "MPEG_LAYER_III", bitrate_mode="VARIABLE")), **LOSSY)
whole("MP3 with a picture and ID3v1", "clip.mp3", lambda: id3() + sound("MP3", "MPEG_LAYER_III") + b"TAG" + bytes(125), **LOSSY)
whole("MP3 no length, with a picture and ID3v1", "clip.mp3", lambda: id3() + bare_mp3(sound("MP3", "MPEG_LAYER_III")) + b"TAG" + bytes(125), **LOSSY)
whole("FLAC of unknown length", "clip.flac", lambda: of_unknown_length(sound("FLAC")))
whole("FLAC of unknown length, no MD5", "clip.flac", lambda: of_unknown_length(sound("FLAC"), md5=False))
whole("FLAC in OGG", "clip.oga", lambda: ffmpeg("oga", "-c:a", "flac"), needs="ffmpeg")
UNTOLD = "the format does not say how long it is, so that a cut file looks like a whole one"
TOLD = "it says how long it is, but libsndfile does not compare: either that is done, or it is refused for the true reason"
for form, subtype, name in (("PVF", "PCM_16", "clip.pvf"), ("PAF", "PCM_16", "clip.paf"), ("IRCAM", "PCM_16", "clip.sf")):
    kind(f"{form} {subtype}", name, "either", lambda f=form, s=subtype: sound(f, s), f"how long|convert|{NONE}", note=UNTOLD)
TRULY = f"^(?!.*does not say how long).*(convert|{NONE})"
for form, subtype, name, more in (("VOC", "PCM_16", "clip.voc", {}), ("AVR", "PCM_16", "clip.avr", {}), ("MAT4", "PCM_16", "clip.mat", {}), ("MAT5", "PCM_16", "clip.mat", {}), ("MPC2K", "PCM_16", "clip.snd", {}),
                                  ("SDS", "PCM_16", "clip.sds", dict(within=0.01)), ("WVE", "ALAW", "clip.wve", dict(rate=8000)), ("XI", "DPCM_16", "clip.xi", dict(rate=44100, like=0.9, gain=None))):
    kind(f"{form} {subtype}", name, "either", lambda f=form, s=subtype, r=more.get("rate", RATE): sound(f, s, r), TRULY, note=TOLD, **more)
refuse("SD2, without its resource fork", "clip.sd2", lambda: pcm(), f"{NONE}|convert", note="its header is a second file: nothing in the first says what it is")

# what ffmpeg writes
for slug, name, options, more in (
        ("M4A AAC", "clip.m4a", ("-c:a", "aac"), {}), ("M4A AAC, header first", "clip.m4a", ("-c:a", "aac", "-movflags", "+faststart"), {}),
        ("M4A ALAC", "clip.m4a", ("-c:a", "alac"), dict(within=0.002, like=0.99)),
        ("M4A in fragments", "clip.m4a", ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", "-frag_duration", "500000"), {}),
        ("MOV PCM", "clip.mov", ("-c:a", "pcm_s16le"), dict(within=0.002, like=0.99)), ("AAC bare", "clip.aac", ("-c:a", "aac"), dict(within=0.2)),
        ("WEBM Opus", "clip.webm", ("-c:a", "libopus"), {}), ("MKA Vorbis", "clip.mka", ("-c:a", "libvorbis"), {}), ("WMA", "clip.wma", ("-c:a", "wmav2"), dict(within=0.3)),
        ("Opus by ffmpeg", "clip.opus", ("-c:a", "libopus"), {}),
        ("MP3 by ffmpeg, no length", "clip.mp3", ("-c:a", "libmp3lame", "-write_xing", "0"), {})):
    whole(slug, name, lambda s=name.split(".")[1], o=options: ffmpeg(s, *o), needs="ffmpeg", **{**LOSSY, **more})
for slug, name, codec, more in (("AC3", "clip.ac3", "ac3", {}), ("MP2", "clip.mp2", "mp2", {}), ("WavPack", "clip.wv", "wavpack", dict(within=0.002, like=0.99)), ("TTA", "clip.tta", "tta", dict(within=0.002, like=0.99)), ("Speex", "clip.spx", "libspeex", {}),
                                ("GSM bare", "clip.gsm", "libgsm", dict(like=0.5))):
    kind(slug, name, "either", lambda n=name, c=codec: ffmpeg(n[5:], "-c:a", c, *(("-ar", "8000") if c == "libgsm" else ())), f"{NONE}|convert", needs="ffmpeg", **{**LOSSY, **more},
         note="it could be read; the list of what is read may be shorter, if it is one list")
for slug, name, form, options in (("M4A by a pipe", "clip.m4a", "mp4", ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov")), ("WEBM by a pipe", "clip.webm", "webm", ("-c:a", "libopus")),
                                  ("MP3 by a pipe", "clip.mp3", "mp3", ("-c:a", "libmp3lame"))):
    whole(slug, name, lambda f=form, o=options: ffmpeg("", *o, "-f", f, pipe=True), needs="ffmpeg", **LOSSY)
whole("WAV by ffmpeg's pipe", "clip.wav", lambda: ffmpeg("", "-f", "wav", pipe=True), needs="ffmpeg")
whole("AIFF by ffmpeg's pipe", "clip.aiff", lambda: ffmpeg("", "-f", "aiff", pipe=True), needs="ffmpeg")
whole("AU by ffmpeg's pipe", "clip.au", lambda: ffmpeg("", "-f", "au", pipe=True), needs="ffmpeg")
whole("FLAC by ffmpeg's pipe", "clip.flac", lambda: ffmpeg("", "-f", "flac", pipe=True), needs="ffmpeg")
whole("CAF by ffmpeg's pipe", "clip.caf", lambda: ffmpeg("", "-f", "caf", "-c:a", "pcm_s16be", pipe=True), needs="ffmpeg")
whole("WAV by SoX's pipe", "clip.wav", lambda: sox("-t", "wav"), needs="sox")
whole("AIFF by SoX's pipe", "clip.aiff", lambda: sox("-t", "aiff"), needs="sox")
whole("AU by SoX's pipe", "clip.au", lambda: sox("-t", "au"), needs="sox")
whole("FLAC by SoX's pipe", "clip.flac", lambda: sox("-t", "flac"), needs="sox")
whole("AMR by SoX", "clip.amr", lambda: sox("-r", "8000", "-t", "amr-nb"), needs="sox" if SOX and "amr-nb" in subprocess.run([SOX, "--help"], capture_output=True, text=True).stdout else None,
      **{**LOSSY, "like": 0.5})
VIDEO = ("-f", "lavfi", "-i", "color=size=32x32:rate=5:duration=3")
whole("MP4 film with sound", "clip.mp4", lambda: ffmpeg("mp4", "-c:a", "aac", "-c:v", "mpeg4", "-map", "0:v", "-map", "1:a", before=VIDEO), needs="ffmpeg", **LOSSY)
refuse("MP4 film without sound", "clip.mp4", lambda: ffmpeg("mp4", "-c:v", "mpeg4", "-map", "0:v", before=VIDEO), NONE, needs="ffmpeg")
whole("M4A with a picture", "clip.m4a", lambda: ffmpeg("m4a", "-c:a", "aac", "-c:v", "png", "-disposition:v", "attached_pic", "-map", "0:v", "-map", "1:a",
                                                      before=("-f", "lavfi", "-i", "color=size=32x32:rate=25:duration=0.04")), needs="ffmpeg", **LOSSY)

# cut in half, cut a little, cut in the header
for slug in ("WAV PCM_16", "WAV PCM_24", "WAV FLOAT", "WAV ULAW", "WAV IMA_ADPCM", "WAV MS_ADPCM", "WAV GSM610", "WAV G721_32", "WAV NMS_ADPCM_32", "WAVEX PCM_16", "RF64 PCM_16",
             "W64 PCM_16", "AIFF PCM_16", "AIFF ULAW", "AU PCM_16", "CAF PCM_16", "CAF ALAC_16", "FLAC PCM_16", "FLAC PCM_24", "FLAC of unknown length", "OGG VORBIS", "OGG OPUS", "NIST PCM_16",
             "SVX PCM_16", "HTK PCM_16", "WAV MPEG_LAYER_III", "MP3 constant rate", "MP3 variable rate",
             "MP3 constant rate, no length", "MP3 variable rate, no length", "MP3 with a picture and ID3v1", "FLAC in OGG", "M4A AAC", "M4A AAC, header first", "M4A in fragments", "M4A ALAC", "MOV PCM",
             "AAC bare", "WEBM Opus", "WEBM by a pipe", "MKA Vorbis", "WMA", "Opus by ffmpeg"):
    cut(slug, "half", slug, half, CUT if slug not in ("M4A AAC", "M4A ALAC", "CAF ALAC_16", "MOV PCM", "HTK PCM_16", "MP3 with a picture and ID3v1") else f"{CUT}|{NONE}|damaged")  # what says what it is, is lost too
for slug in ("AC3", "MP2", "WavPack", "TTA", "Speex", "PVF PCM_16", "PAF PCM_16", "IRCAM PCM_16", "VOC PCM_16", "AVR PCM_16", "MAT4 PCM_16", "MAT5 PCM_16", "MPC2K PCM_16", "SDS PCM_16", "WVE ALAW", "XI DPCM_16"):
    cut(slug, "half", slug, half, f"{CUT}|how long|convert|{NONE}")
cut("MP3 with a picture and ID3v1", "half of its sound", "", lambda d: len(d) - 7013)
for slug in ("WAV PCM_16", "FLAC PCM_16", "AIFF PCM_16", "OGG VORBIS", "OGG OPUS", "MP3 constant rate", "MP3 constant rate, no length", "M4A AAC, header first", "WEBM Opus"):
    cut(slug, "the last 1% lost", slug, nearly)
for slug in ("WAV PCM_16", "FLAC PCM_16", "AIFF PCM_16", "AU PCM_16", "OGG VORBIS", "W64 PCM_16", "CAF PCM_16", "MP3 constant rate, no length", "M4A AAC, header first"):
    cut(slug, "in its header", slug, header, f"{CUT}|{NONE}|damaged")
cut("OGG VORBIS", "at a page", "OGG VORBIS", lambda d: ogg_pages(d)[-1])
cut("OGG OPUS", "at a page", "OGG OPUS", lambda d: ogg_pages(d)[-1])
cut("FLAC PCM_16", "at a frame", "FLAC PCM_16", lambda d: flac_frames(d)[len(flac_frames(d)) // 2])
cut("FLAC of unknown length, no MD5", "at a frame", "", lambda d: flac_frames(d)[len(flac_frames(d)) // 2], right="either", seconds=None, like=0, gain=None,
    note="no length, no checksum of the whole, and whole frames: cannot be known")
cut("MP3 constant rate", "at a frame", "", lambda d: mp3_frames(d)[len(mp3_frames(d)) // 2])
cut("MP3 constant rate, no length", "at a frame", "", lambda d: mp3_frames(d)[len(mp3_frames(d)) // 2], right="either", seconds=None, like=0, gain=None,
    note="no length and whole frames: cannot be known")
cut("AAC bare", "at a tenth of the last frame", "", lambda d: len(d) - 40)
refuse("WAV of 12 s, the last second lost", "clip.wav", lambda: sound(seconds=12.0)[: -32000], CUT)

# streams and sizes that are not true
for slug, size in (("0", 0), ("0xFFFFFFFF", 0xFFFFFFFF), ("0x7FFFFFFF", 0x7FFFFFFF), ("as SoX's, 0x7FFFFFDB", 0x7FFFFFFF - 36), ("0x7FFFF000", 0x7FFFF000), ("0x80000000", 0x80000000)):
    whole(f"WAV, sizes {slug}", "clip.wav", lambda s=size: riff(fmt(), chunk(b"data", pcm(s % 97), s), size=min(0xFFFFFFFF, s + 36) if s else 0))
whole("WAV, size of the file 0", "clip.wav", lambda: riff(fmt(), chunk(b"data", pcm(11)), size=0))
whole("WAV, size of the file too large by 1", "clip.wav", lambda: patch(d := sound(seed=12), 4, struct.pack("<I", len(d) - 7)))
whole("WAV, size of the file too large by 2", "clip.wav", lambda: patch(d := sound(seed=13), 4, struct.pack("<I", len(d) - 6)))
whole("WAV, size of the file too small", "clip.wav", lambda: patch(sound(seed=14), 4, struct.pack("<I", 36)))
kind("WAV, data promised 1 byte more", "clip.wav", "either", lambda: riff(fmt(), chunk(b"data", (d := pcm(15)), len(d) + 1)), CUT, note="every sample is there")
kind("WAV, data promised 2 bytes more", "clip.wav", "either", lambda: riff(fmt(), chunk(b"data", (d := pcm(16)), len(d) + 2)), CUT, note="one sample, 0.06 ms, is lost")
whole("WAV, odd data without padding", "clip.wav", lambda: riff(fmt(bits=8), chunk(b"data", (voice(seed=17)[:-1] * 127 + 128).astype("u1").tobytes(), pad=False)), like=0.97)
whole("AU of unknown length", "clip.au", lambda: patch(sound("AU", seed=18), 8, b"\xff" * 4))
whole("CAF of unknown length", "clip.caf", lambda: patch(d := sound("CAF", seed=19), d.index(b"data") + 4, b"\xff" * 8))
kind("WAV, sizes 0xFFFFFFFF, cut", "clip.wav", "either", lambda: riff(fmt(), chunk(b"data", pcm(20)[:48000], 0xFFFFFFFF), size=0xFFFFFFFF), CUT, seconds=None, like=0, gain=None,
     note="a stream's header does not say how long it is: cannot be known")
whole("WAV, rubbish after the end", "clip.wav", lambda: sound(seed=21) + bytes(range(256)) * 40)
whole("WAV, LIST before the data", "clip.wav", lambda: riff(fmt(), chunk(b"LIST", b"INFOISFT\5\0\0\0Lavf\0\0"), chunk(b"data", pcm(22))))
whole("WAV, LIST after the data", "clip.wav", lambda: riff(fmt(), chunk(b"data", pcm(23)), chunk(b"LIST", b"INFOISFT\5\0\0\0Lavf\0\0")))
whole("WAV, LIST after the data, itself cut", "clip.wav", lambda: riff(fmt(), chunk(b"data", pcm(24)), chunk(b"LIST", b"INFOISFT\5\0\0\0La", 400)))
whole("WAV, an odd chunk first", "clip.wav", lambda: riff(chunk(b"junk", b"odd"), fmt(), chunk(b"bext", bytes(603)), chunk(b"data", pcm(25))))
whole("WAV, big-endian (RIFX)", "clip.wav", lambda: b"RIFX" + struct.pack(">I", 36 + len(d := pcm(26, dtype=">i2"))) + b"WAVEfmt " + struct.pack(">IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
      + b"data" + struct.pack(">I", len(d)) + d)
for form, one in (("OGG", lambda: sound("OGG", "VORBIS")), ("FLAC", lambda: sound("FLAC")), ("MP3", lambda: sound("MP3", "MPEG_LAYER_III"))):
    kind(f"{form}, two in a row in one file", f"clip.{form.lower()}", "either", lambda o=one: o() + o(), f"{CUT}|more|second|damaged|after|joined|two", seconds=2 * SECONDS, like=0, within=0.2, gain=None,
         note="both are decoded, or it is refused; the first alone would be a silent half")

# damaged within, tags in strange places, containers in containers
HARM = dict(seconds=SECONDS, within=0.2, like=0, gain=None, note="damage within: refused, or decoded at its full length")
for slug in ("FLAC PCM_16", "FLAC of unknown length", "OGG VORBIS", "OGG OPUS", "MP3 constant rate", "MP3 constant rate, no length", "MP3 variable rate, no length", "M4A AAC, header first", "WEBM Opus", "AAC bare"):
    k = next(k for k in KINDS if k.slug == slug)
    kind(f"{slug}, damaged within", k.name, "either", lambda k=k: damaged(k.make()), f"damaged|{CUT}", needs=k.needs, **HARM)
def without(data, a, b): return data[:a] + data[b:]  # noqa: E302,E704


refuse("OGG VORBIS, a page lost within", "clip.ogg", lambda: without(d := sound("OGG", "VORBIS"), *ogg_pages(d)[3:5]), f"damaged|{CUT}")
refuse("OGG OPUS, a page lost within", "clip.opus", lambda: without(d := sound("OGG", "OPUS", seconds=6.0), *ogg_pages(d)[3:5]), f"damaged|{CUT}")
kind("FLAC PCM_16, a frame lost within", "clip.flac", "either", lambda: without(d := sound("FLAC"), *flac_frames(d)[4:6]), f"damaged|{CUT}", **HARM)
kind("FLAC of unknown length, a frame lost within", "clip.flac", "either", lambda: without(d := of_unknown_length(sound("FLAC")), *flac_frames(d)[4:6]), f"damaged|{CUT}", **HARM)
kind("MP3 constant rate, no length, 300 zeros within", "clip.mp3", "either", lambda: (d := bare_mp3(sound("MP3", "MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=0.5)))[:14400] + bytes(300) + d[14400:], f"damaged|{CUT}", **HARM)
kind("MP3 without length, two in a row, each with tags", "clip.mp3", "either", lambda: 2 * (id3(900) + bare_mp3(sound("MP3", "MPEG_LAYER_III")) + b"TAG" + bytes(125)), f"{CUT}|more|second|damaged|after|joined|two",
     seconds=2 * SECONDS, like=0, within=0.3, gain=None, note="both are decoded, or it is refused; the first alone would be a silent half")
whole("MP3 with VBRI", "clip.mp3", lambda: vbri(sound("MP3", "MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=0.1)), **LOSSY)
cut("MP3 with VBRI", "at a frame", "", lambda d: mp3_frames(d)[len(mp3_frames(d)) // 2])
for rate, channels in ((44100, 2), (8000, 1), (48000, 1)):
    whole(f"MP3, {rate} Hz, {channels} channels, no length", "clip.mp3", lambda r=rate, c=channels: bare_mp3(sound("MP3", "MPEG_LAYER_III", r, channels=c)), rate=rate, **LOSSY)
    cut(f"MP3, {rate} Hz, {channels} channels, no length", "half", "", half)
whole("MP3 no length, APE tag at the end", "clip.mp3", lambda: bare_mp3(sound("MP3", "MPEG_LAYER_III")) + b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 0) + bytes(8) + b"TAG" + bytes(125), **LOSSY)
whole("FLAC with an ID3 tag before it", "clip.flac", lambda: id3(300) + sound("FLAC", seed=30))
whole("WAV with an ID3 tag before it", "clip.wav", lambda: id3(300) + sound(seed=31, gain=1.9), gain=1.9)
whole("AAC with an ID3 tag before it", "clip.aac", lambda: id3(300) + ffmpeg("aac", "-c:a", "aac", seed=32), needs="ffmpeg", **{**LOSSY, "within": 0.2})
whole("OGG, rubbish after the end", "clip.ogg", lambda: sound("OGG", "VORBIS", seed=33) + bytes(500), **LOSSY)
whole("FLAC, rubbish after the end", "clip.flac", lambda: sound("FLAC", seed=34) + bytes(500))
whole("M4A whose first box is `free`", "clip.m4a", lambda: patch(ffmpeg("m4a", "-c:a", "aac", seed=35), 4, b"free"), needs="ffmpeg", **LOSSY)
whole("M4A, rubbish after the end", "clip.m4a", lambda: ffmpeg("m4a", "-c:a", "aac", seed=36) + bytes(5000), needs="ffmpeg", **LOSSY)
whole("M4A with a broken picture", "clip.m4a", lambda: next(k for k in KINDS if k.slug == "M4A with a picture").make().replace(b"IDAT", b"JUNK").replace(b"\x89PNG", b"\x88XXX"), needs="ffmpeg", **LOSSY)
for slug, name, options, more in (("WAV G.726", "clip.wav", ("-c:a", "g726", "-ar", "8000"), dict(like=0.5)), ("WAV G.722", "clip.wav", ("-c:a", "g722"), {}), ("CAF Opus", "clip.caf", ("-c:a", "libopus"), {}), ("CAF IMA4", "clip.caf", ("-c:a", "adpcm_ima_qt"), {}),
                                  ("AVI PCM", "clip.avi", ("-c:a", "pcm_s16le"), {}), ("3GP AAC", "clip.3gp", ("-c:a", "aac"), {}), ("WAV AC3", "clip.wav", ("-c:a", "ac3"), {}), ("MKV FLAC", "clip.mkv", ("-c:a", "flac"), {}),
                                  ("AIFF by ffmpeg", "clip.aiff", ("-c:a", "pcm_s16be"), {}), ("W64 by ffmpeg", "clip.w64", (), {}), ("RF64 by ffmpeg", "clip.wav", ("-rf64", "always"), {})):
    whole(slug, name, lambda n=name, o=options: ffmpeg(n.split(".")[1], *o), needs="ffmpeg", **{**LOSSY, **more})
    cut(slug, "half", "", half)
for slug in ("AMR by SoX", "M4A by a pipe"): cut(slug, "half", "", half)
whole("W64 by ffmpeg's pipe", "clip.w64", lambda: ffmpeg("", "-f", "w64", pipe=True, seed=37), needs="ffmpeg")
kind("RF64 by ffmpeg's pipe", "clip.wav", "either", lambda: ffmpeg("", "-rf64", "always", "-f", "wav", pipe=True, seed=38), "no samples", needs="ffmpeg", note="its header says that there are 0 samples")
kind("MPEG transport stream", "clip.ts", "either", lambda: ffmpeg("ts", "-c:a", "aac"), f"{NONE}|convert", needs="ffmpeg", note="ffmpeg reads it; the list of what is read may be shorter, if it is one list", **LOSSY)
cut("MPEG transport stream", "half", "", half, f"{CUT}|{NONE}|convert")
kind("BW64", "clip.wav", "either", lambda: patch(sound("RF64", seed=39), 0, b"BW64"), f"{NONE}|convert", note="libsndfile does not know it")
refuse("NIST SPHERE, compressed by shorten", "clip.sph", sphere_shortened, f"^(?!.*cut short).*({NONE}|convert|encod|compress|shorten)")
refuse("gzip with a WAV in it", "clip.wav", lambda: __import__("gzip").compress(sound(), mtime=0), NONE)

# sampling rates, channels
for rate in (1, 999): refuse(f"{rate} Hz", "clip.wav", lambda r=rate: written(voice(r, 40.0) if r > 1 else np.ones(40, "f4"), r), "sampling rate", rate=rate)
refuse("0 Hz in the header", "clip.wav", lambda: riff(fmt(0), chunk(b"data", pcm())), f"sampling rate|{NONE}|damaged")
refuse("4,294,967,295 Hz in the header", "clip.wav", lambda: riff(fmt(0xFFFFFFFF), chunk(b"data", pcm())), f"sampling rate|{NONE}|damaged")
for rate in (1000, 8000, 11025, 22050, 44101, 96000, 192000, 767999): whole(f"{rate} Hz", "clip.wav", lambda r=rate: sound(rate=r), rate=rate)
for channels in (2, 6, 32): whole(f"{channels} channels", "clip.wav", lambda c=channels: sound(channels=c))
whole("2 channels, one of them silent", "clip.wav", lambda: written(np.stack([voice(), 0 * voice()], 1)), gain=0.5)
refuse("2 channels that cancel", "clip.wav", lambda: written(np.stack([voice(), -voice()], 1)), "cancel", content=True)
refuse("0 channels in the header", "clip.wav", lambda: riff(fmt(channels=0), chunk(b"data", pcm())), f"channel|{NONE}|damaged")

# what is in the sound
def with_(value, at=slice(20000, 20001)): return (lambda x: (x.__setitem__(at, value), written(x))[1])(voice().copy())  # noqa: E302,E704


for slug, value, at in (("one NaN", np.nan, slice(20000, 20001)), ("all NaN", np.nan, slice(None)), ("one infinite", np.inf, slice(20000, 20001)), ("the last one NaN", np.nan, slice(-1, None))):
    refuse(f"WAV FLOAT, {slug}", "clip.wav", lambda v=value, a=at: with_(v, a), "NaN|infinite", content=True)
kind("WAV FLOAT near 3.4e38", "clip.wav", "either", lambda: written((voice().astype("f8") * 6.7e38).astype("f4")), "loud|large|beyond|range|numbers", gain=None, content=True,
     note="numbers at the end of the range: a matter of scale, or damage")
kind("WAV DOUBLE, 1e300", "clip.wav", "either", lambda: written(voice().astype("f8") * 1e300, subtype="DOUBLE"), "loud|large|beyond|range|numbers|infinite", gain=None, content=True,
     note="beyond single precision")
refuse("WAV FLOAT of 1e-40", "clip.wav", lambda: written(voice() * np.float32(1e-40)), "silen|nothing", content=True)
whole("WAV FLOAT, peak of 100", "clip.wav", lambda: written(voice() * 200), gain=200.0)
whole("WAV FLOAT, peak of 1e-4", "clip.wav", lambda: written(voice() * np.float32(2e-4)), gain=2e-4)
kind("a constant, no sound", "clip.wav", "either", lambda: written(np.full(48000, 0.25, "f4")), "silen|nothing|constant", like=0, gain=None, content=True, note="not zero, and nothing to hear")
refuse("digital silence", "clip.wav", lambda: written(np.zeros(48100, "f4"), subtype="PCM_16"), "silen", content=True)
refuse("digital silence as FLAC", "clip.flac", lambda: written(np.zeros(48200, "f4"), subtype="PCM_16", form="FLAC"), "silen", content=True)
refuse("no samples", "clip.wav", lambda: written(np.zeros(0, "f4")), "no samples|empty|no sound", content=True)
refuse("no samples, FLAC", "clip.flac", lambda: written(np.zeros(0, "f4"), form="FLAC", subtype="PCM_16"), f"no samples|empty|{NONE}|{CUT}", content=True)
refuse("no samples, then a chunk of 60,000 bytes", "clip.wav", lambda: riff(fmt(), chunk(b"data", b""), chunk(b"JUNK", NOISE[:60000])), "no samples|empty|no sound", content=True)
refuse("1 sample", "clip.wav", lambda: written(np.full(1, 0.5, "f4")), "too short", content=True)
refuse("24 ms", "clip.wav", lambda: sound(seconds=0.024), "too short", content=True)
whole("25 ms", "clip.wav", lambda: sound(seconds=0.025), seconds=0.025, like=0)
whole("12 s", "clip.wav", lambda: sound(seconds=12.0), seconds=12.0)
whole("12 s, MP3", "clip.mp3", lambda: sound("MP3", "MPEG_LAYER_III", seconds=12.0), seconds=12.0, **LOSSY)

# what is no recording
for slug, name, data, says in (
        ("empty", "clip.wav", b"", "empty"), ("empty MP3", "clip.mp3", b"", "empty"), ("text", "clip.wav", b"These are notes about a recording.\n" * 40, NONE), ("text as MP3", "clip.mp3", b"Notes.\n" * 400, NONE),
        ("JSON", "clip.wav", b'{"audio": null, "error": "not found"}', NONE), ("PNG", "clip.wav", png() + bytes(3000), NONE), ("error page", "clip.wav", b"<!DOCTYPE html><html><h1>404 Not Found</h1></html>\n" * 20, NONE),
        ("error page as MP3", "clip.mp3", b"<!DOCTYPE html><html><h1>404 Not Found</h1></html>\n" * 20, NONE), ("random bytes", "clip.wav", NOISE, NONE), ("random bytes as MP3", "clip.mp3", NOISE, f"{NONE}|{CUT}|damaged"),
        ("random bytes as M4A", "clip.m4a", NOISE, f"{NONE}|{CUT}|damaged|ffmpeg"), ("random bytes as OGG", "clip.ogg", NOISE, NONE), ("zeros", "clip.wav", bytes(100_000), NONE), ("zeros as MP3", "clip.mp3", bytes(100_000), NONE),
        ("a Git LFS pointer", "clip.wav", b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 96044\n", NONE),
        ("ELF", "clip.wav", b"\x7fELF\2\1\1" + NOISE[:9000], NONE), ("RIFF that is a film (AVI)", "clip.wav", b"RIFF" + struct.pack("<I", 40004) + b"AVI " + NOISE[:40000], NONE),
        ("WAV's header alone", "clip.wav", riff(fmt(), chunk(b"data", b"")), f"no samples|empty|no sound|{CUT}"),
        ("RIFF and nothing", "clip.wav", b"RIFF", f"{NONE}|{CUT}|damaged")):
    refuse(slug, name, lambda d=data: d, says, content=slug == "WAV's header alone")
refuse("ZIP with a WAV in it", "clip.wav", lambda: zipped("clip.wav"), NONE)
refuse("ZIP by its name too", "clip.wav.zip", lambda: zipped("other.wav"), NONE)

# what asks a decoder to open something else: `other.wav` lies beside it
for slug, name, text in (
        ("playlist (HLS) as WAV", "clip.wav", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{other}\n#EXT-X-ENDLIST\n"),
        ("playlist (HLS) as M4A", "clip.m4a", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{other}\n#EXT-X-ENDLIST\n"),
        ("playlist (HLS) as M3U8", "clip.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{other}\n#EXT-X-ENDLIST\n"),
        ("list of files (ffconcat) as WAV", "clip.wav", "ffconcat version 1.0\nfile other.wav\nfile {other}\n"), ("list of files (ffconcat) as M4A", "clip.m4a", "ffconcat version 1.0\nfile other.wav\n"),
        ("list of files (ffconcat) as WEBM", "clip.webm", "ffconcat version 1.0\nfile {other}\n"), ("playlist (DASH) as M4A", "clip.m4a", '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
        'type="static" mediaPresentationDuration="PT3S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="audio/wav"><Representation id="1" bandwidth="9">'
        "<BaseURL>{other}</BaseURL></Representation></AdaptationSet></Period></MPD>"),
        ("session (SDP) as M4A", "clip.m4a", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 49170 RTP/AVP 0\na=rtpmap:0 PCMU/8000\n")):
    refuse(slug, name, lambda t=text: t, f"{NONE}|ffmpeg|playlist")

# names
for i, (slug, name) in enumerate((
        ("no suffix", "clip"), ("suffix in capitals", "CLIP.WAV"), ("spaces", " a clip  of me .wav"), ("line break", "a\nclip.wav"), ("escape sequence", "\x1b[31mred\x1b[2J\x07.wav"), ("leading dash", "-rf.wav"),
        ("a formula", "=cmd|'calc'!A1.wav"), ("not UTF-8", os.fsdecode(b"caf\xe9.wav")), ("250 characters", "n" * 246 + ".wav"), ("emoji", "\U0001f600\U0001f468\u200d\U0001f469.wav"), ("shell's characters", "%s{}$x`id`;&.wav"),
        ("quotes", "a \"quoted\", 'clip'.wav"), ("brackets of a pattern", "[ab]*?.wav"), ("right to left", "\u202egpj.wav"), ("a URL's look", "memory:x.wav"), ("markup", "<b>[red]$\\frac{$.wav")), 100):
    whole(f"name: {slug}", name, lambda s=i: sound(seed=s))
whole("name: a protocol's look, M4A", "10:30 call.m4a", lambda: ffmpeg("m4a", "-c:a", "aac", seed=1), needs="ffmpeg", **LOSSY)
whole("name: leading dash, M4A", "-i x.m4a", lambda: ffmpeg("m4a", "-c:a", "aac", seed=2), needs="ffmpeg", **LOSSY)
whole("name: pattern of numbers, M4A", "%03d.m4a", lambda: ffmpeg("m4a", "-c:a", "aac", seed=3), needs="ffmpeg", **LOSSY)
whole("name: not UTF-8, M4A", os.fsdecode(b"caf\xe9.m4a"), lambda: ffmpeg("m4a", "-c:a", "aac", seed=4), needs="ffmpeg", **LOSSY)
whole("wrong suffix: FLAC as WAV", "clip.wav", lambda: sound("FLAC", seed=120))
whole("wrong suffix: WAV as MP3", "clip.mp3", lambda: sound(seed=121))
whole("wrong suffix: MP3 as WAV", "clip.wav", lambda: sound("MP3", "MPEG_LAYER_III", seed=122), **LOSSY)
whole("wrong suffix: OGG as MP3", "clip.mp3", lambda: sound("OGG", "VORBIS", seed=123), **LOSSY)
whole("wrong suffix: WAV as M4A", "clip.m4a", lambda: sound(seed=124))
whole("wrong suffix: M4A as WAV", "clip.wav", lambda: ffmpeg("m4a", "-c:a", "aac", seed=5), needs="ffmpeg", **LOSSY)
whole("wrong suffix: WEBM as OGG", "clip.ogg", lambda: ffmpeg("webm", "-c:a", "libopus", seed=6), needs="ffmpeg", **LOSSY)


# ---------------------------------------------------------------- places, and what is too long

def place(slug, name, make, says, right="refuse", **more): kind(slug, name, right, make, says, place=True, **more)


def listen(path):
    "A socket (its name would be too long in a deep folder, so it is bound from within)"
    here = os.getcwd()
    os.chdir(path.parent)
    try: socket.socket(socket.AF_UNIX).bind(path.name)
    finally: os.chdir(here)


def locked(path):
    "A file that may not be read"
    path.write_bytes(sound(seed=130))
    path.chmod(0)


def linked(path):
    "A link to a recording"
    path.with_name("real.bin").write_bytes(sound(seed=131))
    path.symlink_to("real.bin")


def mostly_holes(path, hours=2):
    "A long WAV of silence that takes no room on the disk"
    n = int(hours * 3600 * RATE) * 2
    path.write_bytes(riff(fmt(), b"data" + struct.pack("<I", n), size=n + 36))
    os.truncate(path, n + 44)


def day_of_silence(path):
    "24 hours of silence as a FLAC of some megabytes"
    with sf.SoundFile(path, "w", RATE, 1, "PCM_16", format="FLAC") as file:
        for _ in range(24 * 60): file.write(np.zeros(60 * RATE, "i2"))


LONG = "longer|longest|too long|minutes|no speech|silen"
place("FIFO", "clip.wav", os.mkfifo, "pipe|FIFO|not a file|regular")
place("link to /dev/zero", "clip.wav", lambda p: p.symlink_to("/dev/zero"), "device|not a file|regular")
place("link to /dev/null", "clip.wav", lambda p: p.symlink_to("/dev/null"), "device|not a file|regular")
place("link to the terminal's input", "clip.wav", lambda p: p.symlink_to("/dev/stdin"), "device|pipe|not a file|regular|no such|empty|cannot")
place("socket", "clip.wav", listen, "socket|not a file|regular")
place("folder", "clip.wav", Path.mkdir, "folder|no file")
place("broken link", "clip.wav", lambda p: p.symlink_to("nowhere.wav"), "no such file|broken|leads nowhere")
place("link to itself", "clip.wav", lambda p: p.symlink_to(p.name), "no such file|loop|link|itself")
place("nothing there", "clip.wav", lambda p: None, "no such file")
place("link to a recording", "clip.wav", linked, "", right="whole")
place("may not be read", "clip.wav", locked, "permission|may not be read|not allowed")
place("/proc/self/mem", "clip.wav", lambda p: p.symlink_to("/proc/self/mem"), "empty|device|not a file|regular|permission|not audio|cannot")
place("2 hours of holes, WAV", "clip.wav", mostly_holes, LONG, heavy=True, content=True)
place("24 hours of silence, FLAC", "clip.flac", day_of_silence, LONG, heavy=True, content=True)
place("11 minutes", "clip.flac", lambda p: sf.write(p, np.tile(voice(8000), 220), 8000), LONG, right="long", seconds=660.0, rate=8000, like=0, heavy=True)


def missing(k):
    "What this machine lacks to make a kind, or nothing"
    if k.needs is None: return "a codec"
    return "" if not k.needs or shutil.which(k.needs) else k.needs


def make_odd_files(out, heavy=True, own_voices=False):
    "Make every kind that this machine can make: slug -> path"
    paths = {}
    for i, k in enumerate(KINDS):
        NOW[0] = 1000 + i if own_voices else 0
        if missing(k) or (k.heavy and not heavy): continue
        folder = Path(out) / ("places" if k.place else "files") / f"{i:03}-{re.sub('[^a-z0-9]+', '-', k.slug.lower()).strip('-')}"
        path = folder / k.name
        paths[k.slug] = path
        if folder.exists(): continue
        folder.mkdir(parents=True)
        if k.place: k.make(path)
        else:
            data = k.make()
            if isinstance(data, str):  # a text that names another recording
                other = folder.with_name(f".{folder.name}") / "other.wav"
                other.parent.mkdir()
                for p in (other, folder / "other.wav"): p.write_bytes(sound(seed=199))
                data = data.replace("{other}", str(other)).encode()
            path.write_bytes(data)
    NOW[0] = 0
    return paths


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the files")
    parser.add_argument("--table", action="store_true", help="run every command over them")
    parser.add_argument("--light", action="store_true", help="without the three that take minutes")
    args = parser.parse_args()
    paths = make_odd_files(args.out, heavy=not args.light, own_voices=args.table)
    lacking = [f"{k.slug} (no {missing(k)})" for k in KINDS if missing(k)]
    print(f"{len(KINDS)} kinds, {len(paths)} made in {args.out}" + f"; not made: {', '.join(lacking)}" * bool(lacking))
    if args.table:
        from odd_commands import table
        table(args.out, paths)


if __name__ == "__main__": sys.exit(main())
