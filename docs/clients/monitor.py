"""The monitor's side of ../wire.md: follows a run of a bed to its end; takes each sample once, in order."""

import argparse, json, random, struct, sys, time
from math import inf, nan
from pathlib import Path

import zmq.auth

OPTIONS = "bed=100 endpoint=tcp://127.0.0.1:5555 seconds=1e9 lose=0 csv= secret= server-key="


def parse_packet(head, data):
    """Return the header and samples of a packet: of each sample the value of each lead, NaN for no value."""
    header = json.loads(head)
    first, leads = header["first"], header.get("leads", [])  # an end has no leads, no count, and no samples
    letter, none = dict(int16=("h", -(2**15)), int32=("i", -(2**31)))[header.get("dtype", "int16")]
    row, scales = struct.Struct(f"<{len(leads)}{letter}"), [(lead["offset"], lead["gain"]) for lead in leads]
    size = header.get("count", 0) * row.size
    sound = (header["v"], header["kind"], len(data)) == (1, "samples" if size else "end", size)
    sound = sound and header["run"] and run in (None, header["run"]) and 1 <= header["fs"] <= 10_000
    if not sound or type(first) is not int or not 0 <= first < 2**53:
        raise ValueError("not as ../wire.md specifies it, or of another run")
    rows = row.iter_unpack(data) if size else []
    return header, [[nan if n == none else (n - o) / g for n, (o, g) in zip(raw, scales)] for raw in rows]


sys.tracebacklimit = 0  # what keeps it from running is told in one line
parser = argparse.ArgumentParser(description=__doc__)
for option, default in (text.split("=") for text in OPTIONS.split()):
    parser.add_argument("--" + option, default=default)
options = parser.parse_args()
bed, (address, port) = options.bed.encode(), options.endpoint.rsplit(":", 1)
stream, dealer = (zmq.Context.instance().socket(kind) for kind in (zmq.SUB, zmq.DEALER))
for socket, endpoint in (stream, options.endpoint), (dealer, f"{address}:{int(port) + 1}"):
    socket.linger, socket.maxmsgsize, socket.sndhwm = 1000, 2**20 + 64, 8
    if options.secret or options.server_key:
        socket.curve_publickey, socket.curve_secretkey = zmq.auth.load_certificate(options.secret)
        socket.curve_serverkey, _ = zmq.auth.load_certificate(options.server_key)
    socket.connect(endpoint)
stream.subscribe(bed)
run, joined, here, end, lost_before, tries, done = None, 0, 0, None, 0, 0, False  # `here`: what comes next
samples, held, gaps, rejected, exchanges = [], {}, [], 0, []  # `held`: what came early, by its first sample
request, hello_at, ask_at, silent_at, lose = {}, 0, 0, inf, float(options.lose)
until = time.monotonic() + float(options.seconds)
while not done:
    now, number = time.monotonic(), time.time_ns() // 1000
    end = max(held, default=here) if end is None and now >= until else end
    done = end is not None and here >= end
    # Say hello twice a second, and once complete; no more where eight wait for a device that is not there.
    if (now >= hello_at or done) and dealer.poll(0, zmq.POLLOUT):
        hello_at = now + 0.5
        dealer.send_json(dict(kind="hello", v=1, id=number, sent=time.time(), complete=done))
    # Request what is missing, three times; of a silent bed what may follow: its end may be lost.
    missing = min(held, default=here) - here
    if now >= ask_at and (missing or now >= silent_at):
        tries, ask_at, stop = tries + 1 if missing else 0, now + 1, here + min(missing or 65_536, 65_536)
        request = dict(kind="fetch", v=1, id=number + 1, bed=options.bed, run=run, first=here, stop=stop)
        lost_before = max(held) if tries > 3 else lost_before
        if tries <= 3 and dealer.poll(0, zmq.POLLOUT):
            dealer.send_json(request)
    received = [(socket, socket.recv_multipart()) for socket in zmq.select([stream, dealer], [], [], 0.02)[0]]
    for socket, frames in received:
        try:
            if socket is dealer:
                reply = json.loads(frames[0])
                if reply["kind"] == "hello":  # what each way took by the two clocks
                    to, back = reply["received"] - reply["asked"], time.time() - reply["sent"]
                    exchanges = [*exchanges[-7:], (to + back, (to - back) / 2)]
                elif reply["id"] == request["id"]:  # no reply to an earlier request, which was given up
                    same = reply["run"] == run  # else nothing of it is left
                    here = max(here, min(int(reply["start"]), joined)) if same else here
                    lost_before = int(reply["oldest"]) if same else request["stop"]
                    if not tries and (reply["ended"] or not same):
                        end = int(reply["next"]) if same else here
                        held.setdefault(end, [])
                    received += [(None, frames[i : i + 3]) for i in range(1, len(frames), 3)]
            elif frames[0] == bed and (socket is None or (end is None and random.random() >= lose)):
                header, values = parse_packet(*frames[1:])  # of this bed: a subscription is a prefix
                first = header["first"]
                if run is None:  # what was sent in the ten minutes before is missing
                    run, joined, here = header["run"], first, max(0, first - round(600 * header["fs"]))
                held[first], silent_at = max(values, held.get(first, []), key=len), now + 1
                end = first if header["kind"] == "end" else end
        except Exception:
            rejected += 1  # by itself: what comes behind it is taken
    for first in sorted(held):  # take what follows on, each sample once; a gap is what was lost before it
        if here < min(first, lost_before):
            gaps.append([here, min(first, lost_before)])
            here, tries, ask_at = gaps[-1][1], 0, 0
        if first > here:
            break
        new = held.pop(first)[here - first :]
        samples += enumerate(new, here)
        here, tries, ask_at = here + len(new), 0, 0
if options.csv:
    Path(options.csv).write_text("".join(",".join(map(repr, [i, *row])) + "\n" for i, row in samples))
got = dict(bed=options.bed, run=run, joined=joined, samples=len(samples), gaps=gaps, rejected=rejected)
print(json.dumps(got | dict(round_trip_and_offset_s=min(exchanges, default=None))))
raise SystemExit(not samples or rejected > 0 or any(stop > joined for _, stop in gaps))
