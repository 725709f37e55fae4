// The monitor's side of ../wire.md: follows one run of one bed to its end, and takes every sample once and in order.
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import * as zmq from "zeromq";
import { Run, parsePacket, parseReply, require } from "./wire.mjs";

const DEFAULTS = { bed: "100", endpoint: "tcp://127.0.0.1:5555", seconds: "1e9", lose: "0" };
const names = [...Object.keys(DEFAULTS), "csv", "secret", "server-key"];
const parsed = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: "string" }])) });
const options = { ...DEFAULTS, ...parsed.values };
const now = () => (performance.timeOrigin + performance.now()) / 1000;
// A key of a file that `ecg-agent keys new` wrote.
const key = (file, name) => readFileSync(file, "utf8").match(RegExp(`^\\s*${name}-key\\s*=\\s*"(.{40})"`, "m"))[1];
const security = options.secret && {
  curvePublicKey: key(options.secret, "public"),
  curveSecretKey: key(options.secret, "secret"),
  curveServerKey: key(options["server-key"], "public"),
};
const limits = { maxMessageSize: 2 ** 20 + 64, linger: 0, ...security };
const stream = new zmq.Subscriber(limits);
const dealer = new zmq.Dealer({ ...limits, sendHighWaterMark: 8, sendTimeout: 0 });
stream.connect(options.endpoint);
dealer.connect(options.endpoint.replace(/\d+$/, (port) => Number(port) + 1));
stream.subscribe(options.bed);

const run = new Run(), until = now() + Number(options.seconds), rejected = [];
let request = {}, tries = 0, lastId = 0, helloAt = 0, replyAt = 0;
let exchanges = []; // round trips and offsets of the clocks, in seconds

// Send a request and return it; it is dropped while eight wait for a device that is not there.
function send(kind, keys) {
  const message = { kind, v: 1, id: ++lastId, ...keys };
  dealer.send(JSON.stringify(message)).catch(() => {});
  return message;
}

// Say hello twice a second; request what is missing, and give up what three requests did not bring.
function ask() {
  if (now() >= helloAt) {
    helloAt = now() + 0.5;
    send("hello", { sent: now(), complete: run.next === run.end });
  }
  if (run.missing && now() >= replyAt) {
    const first = run.next, stop = first + Math.floor(Math.min(run.missing, 65_536, 60 * run.fs));
    tries = first === request.first ? tries + 1 : 1;
    if (tries > 3) return run.skip(stop);
    replyAt = now() + 1;
    request = send("fetch", { bed: options.bed, run: run.name, first, stop });
  }
}

// Take a packet of the stream. A subscription is a prefix: it may be of another bed.
function hear([bed, header, samples]) {
  if (bed !== options.bed || run.end !== null) return;
  run.join(header, 600);
  if (header.run !== run.name) run.end = run.sent; // another run ends this one too
  else if (header.kind === "end") run.end = header.first;
  else if (Math.random() >= Number(options.lose)) run.take(header.first, samples);
}

// Take a reply: it compares the clocks, or brings packets that were sent before.
function answer([reply, packets]) {
  if (reply.kind === "hello") {
    const to = reply.received - reply.asked, back = now() - reply.sent;
    exchanges = [...exchanges.slice(-7), [to + back, (to - back) / 2]];
  } else if (reply.id === request.id) {
    const here = reply.run === run.name;
    replyAt = 0;
    run.skip(here ? reply.start : 0, false);
    run.skip(here ? reply.oldest : request.stop);
    for (const [bed, header, samples] of packets.map(parsePacket)) {
      const asked = header.first < request.stop && header.first + samples.length > request.first;
      require(bed === options.bed && header.run === run.name && asked, "a packet that was not requested");
      run.take(header.first, samples);
    }
  }
}

async function receive(socket, take) {
  for await (const frames of socket)
    try { take(frames); ask(); } catch (error) { rejected.push(String(error)); }
}
receive(stream, (frames) => hear(parsePacket(frames)));
receive(dealer, (frames) => answer(parseReply(frames)));
const timer = setInterval(() => {
  if (now() >= until) run.end ??= run.sent;
  const done = run.end !== null && run.next >= run.end;
  if (done) helloAt = 0; // the device need not wait for this monitor
  ask();
  if (!done) return;
  clearInterval(timer);
  if (options.csv) writeFileSync(options.csv, run.samples.map((row) => row.join() + "\n").join(""));
  const { name, joined, gaps } = run, clock = exchanges.sort(([a], [b]) => a - b)[0] ?? null;
  const got = { bed: options.bed, run: name, joined, samples: run.samples.length, gaps, rejected };
  console.log(JSON.stringify({ ...got, round_trip_and_offset_s: clock }));
  process.exitCode = Number(!got.samples || rejected.length > 0 || gaps.some(([, stop]) => stop > joined));
  setTimeout(() => [stream, dealer].forEach((socket) => socket.close()), 100); // the last hello has left by then
}, 20);
