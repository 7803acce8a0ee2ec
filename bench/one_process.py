"""One measurement in a process of its own: prints numbers on its last line. Started by `measure.py`."""
import argparse
import runpy
import sys
import time


def peak(arguments):
    "What a competitor's process holds at most (MB)"
    from competitors import competitors

    from emotion_ser.core import peak_memory_mb
    from emotion_ser.preprocess import load_waveform
    competitor = competitors(arguments.encoder)[arguments.competitor]
    competitor.prepare(arguments.paths, [load_waveform(path) for path in arguments.paths])()
    return [peak_memory_mb()]


def growth(arguments):
    "Seconds, CPU seconds and peak memory (MB) of a corpus that is so many times as large"
    from competitors import benchmark_encoder, from_files

    from emotion_ser.core import peak_memory_mb
    encoder = benchmark_encoder(arguments.encoder, "all")
    from_files(encoder, arguments.paths)  # a warm-up: each length of clip is new to the network once
    started, before = time.perf_counter(), time.process_time()
    from_files(encoder, arguments.paths, arguments.times)
    return [time.perf_counter() - started, time.process_time() - before, peak_memory_mb()]


def importing(arguments):
    "Seconds of `import emotion_ser`"
    started = time.perf_counter()
    import emotion_ser  # noqa: F401
    return [time.perf_counter() - started]


def command(arguments):
    "CPU seconds, seconds and peak memory (MB) of a command of `emotion_ser`"
    from emotion_ser.core import peak_memory_mb
    started = time.perf_counter()
    sys.argv[1:] = arguments.words
    try: runpy.run_module("emotion_ser", run_name="__main__")
    except SystemExit as ended:
        if ended.code: raise
    return [time.process_time(), time.perf_counter() - started, peak_memory_mb()]


def main():
    "Measure what the arguments ask"
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_subparsers(required=True, metavar="peak|growth|import|command")
    for name, function in dict(peak=peak, growth=growth).items():
        asked = what.add_parser(name, help=function.__doc__)
        asked.set_defaults(function=function)
        asked.add_argument("encoder", help="whisper-base or wav2vec2-base")
        if name == "peak": asked.add_argument("competitor", help="its name, as in speed.csv")
        else: asked.add_argument("times", type=int, help="how often each clip counts, as another clip")
        asked.add_argument("paths", nargs="+", help="recordings")
    what.add_parser("import", help=importing.__doc__).set_defaults(function=importing)
    words = what.add_parser("command", help=command.__doc__)
    words.add_argument("words", nargs="*", help="of the command, after --")
    words.set_defaults(function=command)
    arguments = parser.parse_args()
    print(*arguments.function(arguments))


if __name__ == "__main__": main()
