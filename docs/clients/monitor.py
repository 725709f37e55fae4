"""The monitor's side of ../wire.md: follows one run of one bed to its end, and takes every sample once and in order."""

import argparse
import json
import random
import time
from pathlib import Path

import zmq.auth
from wire import MALFORMED, Run, parse_packet, parse_reply, require

OPTIONS = dict(bed="100", endpoint="tcp://127.0.0.1:5555", seconds=1e9, lose=0.0, csv="", secret="", server_key="")


class Channel:
    """The backfill channel; `exchanges`: round trips and offsets of the clocks, in seconds."""

    def __init__(self):
        self.request, self.exchanges, self.tries, self.hello_s, self.reply_s = {}, [], 0, 0, 0

    def send(self, **keys):
        """Send a request and return it; nothing is sent while eight wait for a device that is not there."""
        request = {"v": 1, "id": time.monotonic_ns() // 1000, **keys}
        if dealer.poll(0, zmq.POLLOUT):
            dealer.send_json(request)
        return request

    def ask(self, run, now_s):
        """Say hello twice a second; request what is missing, and give up what three requests did not bring."""
        if now_s >= self.hello_s:
            self.hello_s = now_s + 0.5
            self.send(kind="hello", sent=time.time(), complete=run.next == run.end)
        if run.missing and now_s >= self.reply_s:
            first, stop = run.next, run.next + int(min(run.missing, 65_536, 60 * run.fs))
            self.tries = self.tries + 1 if first == self.request.get("first") else 1
            if self.tries > 3:
                run.skip(stop)
            else:
                self.reply_s = now_s + 1
                self.request = self.send(kind="fetch", bed=options.bed, run=run.name, first=first, stop=stop)

    def answer(self, run, reply, packets):
        """Take a reply: it compares the clocks, or brings packets that were sent before."""
        if reply["kind"] == "hello":
            to, back = reply["received"] - reply["asked"], time.time() - reply["sent"]
            self.exchanges = [*self.exchanges[-7:], (to + back, (to - back) / 2)]
        elif reply["id"] == self.request.get("id"):
            self.reply_s, here = 0, reply["run"] == run.name
            run.skip(reply["start"] if here else 0, lost=False)
            run.skip(reply["oldest"] if here else self.request["stop"])
            for bed, header, samples in (parse_packet(*packet) for packet in packets):
                first, stop = header["first"], header["first"] + len(samples)
                asked = first < self.request["stop"] and stop > self.request["first"]
                require((bed, header["run"], asked) == (options.bed, run.name, True), "a packet that was not requested")
                run.take(first, samples)


def hear(run, bed, header, samples):
    """Take a packet of the stream. A subscription is a prefix: it may be of another bed."""
    if bed != options.bed or run.end is not None:
        return
    run.join(header, back_s=600)
    if header["run"] != run.name or header["kind"] == "end":  # another run ends this one too
        run.end = header["first"] if header["run"] == run.name else run.sent
    elif random.random() >= options.lose:
        run.take(header["first"], samples)


parser = argparse.ArgumentParser(description=__doc__)
for option, default in OPTIONS.items():
    parser.add_argument("--" + option.replace("_", "-"), type=type(default), default=default)
options = parser.parse_args()
address, port = options.endpoint.rsplit(":", 1)
stream, dealer = (zmq.Context.instance().socket(kind) for kind in (zmq.SUB, zmq.DEALER))
for socket, endpoint in (stream, options.endpoint), (dealer, f"{address}:{int(port) + 1}"):
    socket.linger, socket.maxmsgsize, socket.sndhwm = 1000, 2**20 + 64, 8
    if options.secret:
        socket.curve_publickey, socket.curve_secretkey = zmq.auth.load_certificate(options.secret)
        socket.curve_serverkey, _ = zmq.auth.load_certificate(options.server_key)
    socket.connect(endpoint)
stream.subscribe(options.bed)
run, channel, rejected, until_s = Run(), Channel(), [], time.monotonic() + options.seconds
while run.end is None or run.next < run.end:
    if time.monotonic() >= until_s and run.end is None:
        run.end = run.sent
    channel.ask(run, time.monotonic())
    for socket in zmq.select([stream, dealer], [], [], 0.02)[0]:
        try:
            frames = socket.recv_multipart()
            hear(run, *parse_packet(*frames)) if socket is stream else channel.answer(run, *parse_reply(*frames))
        except MALFORMED as error:
            rejected.append(repr(error))
channel.hello_s = 0  # the device need not wait for this monitor
channel.ask(run, time.monotonic())
if options.csv:
    Path(options.csv).write_text("".join(",".join(map(repr, [i, *row])) + "\n" for i, row in run.samples))
got = dict(bed=options.bed, run=run.name, joined=run.joined, samples=len(run.samples), gaps=run.gaps)
print(json.dumps(got | dict(rejected=rejected, round_trip_and_offset_s=min(channel.exchanges, default=None))))
raise SystemExit(not run.samples or bool(rejected) or any(stop > run.joined for _, stop in run.gaps))
