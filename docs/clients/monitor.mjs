// The monitor's side of ../wire.md: follows a run of a bed to its end; takes each sample once, in order.
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import * as zmq from "zeromq";

process.on("uncaughtException", (error) => { console.error(String(error)); process.exit(1); }); // in one line
const defaults = { bed: "100", endpoint: "tcp://127.0.0.1:5555", seconds: "1e9", lose: "0" };
const names = [...Object.keys(defaults), "csv", "secret", "server-key"];
const parsed = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: "string" }])) });
const options = { ...defaults, ...parsed.values };
const key = (file, name) => readFileSync(file, "utf8").match(RegExp(` ${name}-key = "(.{40})"`))[1];
const own = options.secret, server = options["server-key"], secured = own || server;
const security = secured && { curvePublicKey: key(own, "public"), curveSecretKey: key(own, "secret") };
const limits = { maxMessageSize: 2 ** 20 + 64, linger: 0, ...security };
if (secured) limits.curveServerKey = key(server, "public");
const stream = new zmq.Subscriber(limits);
const dealer = new zmq.Dealer({ ...limits, sendHighWaterMark: 8, sendTimeout: 0 });
stream.connect(options.endpoint);
dealer.connect(options.endpoint.replace(/\d+$/, (port) => Number(port) + 1));
stream.subscribe(options.bed);
const now = () => (performance.timeOrigin + performance.now()) / 1000;
let run = null, joined = 0, here = 0, end = null, lostBefore = 0; // here: the sample that comes next
let samples = [], held = new Map(), gaps = [], rejected = 0; // held: what came early, by its first sample
let request = {}, lastId = 0, tries = 0, askAt = 0, silentAt = Infinity, exchanges = [];

// Return the header and samples of a packet: of each sample the value of each lead, NaN for no value.
function parsePacket([, head, data, ...more]) {
  const header = JSON.parse(head), { leads = [], count = 0, dtype = "int16", first, fs } = header;
  const [read, bytes] = { int16: ["readInt16LE", 2], int32: ["readInt32LE", 4] }[dtype];
  const size = count * leads.length * bytes; // an end has no leads, no count, and no samples
  const sound = header.v === 1 && header.kind === (size ? "samples" : "end") && data.length === size;
  const known = header.run && (run ?? header.run) === header.run && fs >= 1 && fs <= 10_000;
  if (!sound || !known || more.length || !Number.isSafeInteger(first) || first < 0)
    throw Error("not as ../wire.md specifies it, or of another run");
  const value = (n, lead) => (n === -(2 ** (8 * bytes - 1)) ? NaN : (n - lead.offset) / lead.gain);
  const row = (at) => leads.map((lead, i) => value(data[read]((at * leads.length + i) * bytes), lead));
  return [header, Array.from({ length: count }, (_, at) => row(at))];
}
function takePacket(frames) { // of the stream, or sent again
  if (String(frames[0]) !== options.bed) return; // a subscription is a prefix
  const [header, values] = parsePacket(frames), first = header.first;
  if (run === null) // what was sent in the ten minutes before is missing
    [run, joined, here] = [header.run, first, Math.max(0, first - Math.round(600 * header.fs))];
  if (values.length >= (held.get(first)?.length ?? 0)) held.set(first, values);
  silentAt = now() + 1;
  if (header.kind === "end") end = first;
}
function takeReply([head, ...frames]) { // it compares the clocks, or brings packets
  const reply = JSON.parse(head), { kind, id, start, oldest, next } = reply, same = reply.run === run;
  if (kind === "hello") {
    const to = reply.received - reply.asked, back = now() - reply.sent;
    exchanges = [...exchanges.slice(-7), [to + back, (to - back) / 2]];
  } else if (id === request.id && [start, oldest, next].every(Number.isInteger)) {
    if (same) here = Math.max(here, Math.min(start, joined));
    lostBefore = same ? oldest : request.stop; // nothing is left of a run that the device is no longer in
    if (tries === 0 && (reply.ended || !same)) held.set((end = same ? next : here), []);
    for (let at = 0; at < frames.length; at += 3) attempt(takePacket, frames.slice(at, at + 3));
  }
}
// What is not as specified is rejected by itself; a request is dropped where eight wait for a device.
const attempt = (take, frames) => { try { take(frames); } catch { rejected++; } };
const send = (message) => dealer.send(JSON.stringify(message)).catch(() => {});
const isDone = () => here >= (end ?? Infinity);
const hello = () => send({ kind: "hello", v: 1, id: ++lastId, sent: now(), complete: isDone() });
// Take what follows on, each sample once; a gap is what was lost before it. Ask for what is missing.
function step() {
  for (const first of [...held.keys()].sort((a, b) => a - b)) {
    if (here < Math.min(first, lostBefore)) gaps.push([here, (here = Math.min(first, lostBefore))]);
    if (first > here) break;
    for (const row of held.get(first).slice(here - first)) samples.push([here++, ...row]);
    held.delete(first);
    tries = askAt = 0;
  }
  const missing = held.size && Math.min(...held.keys()) - here;
  if (now() < askAt || (missing === 0 && now() < silentAt)) return; // silent: its end may be lost
  [tries, askAt] = [missing && tries + 1, now() + 1];
  const stop = here + Math.min(missing || 65_536, 65_536);
  request = { kind: "fetch", v: 1, id: ++lastId, bed: options.bed, run, first: here, stop };
  if (tries > 3) lostBefore = Math.max(...held.keys());
  else send(request);
}
const receive = async (socket, take) => { for await (const frames of socket) attempt(take, frames), step(); };
receive(stream, (frames) => end !== null || Math.random() < Number(options.lose) || takePacket(frames));
receive(dealer, takeReply);
hello();
setInterval(hello, 500);
const until = now() + Number(options.seconds), timer = setInterval(() => {
  if (now() >= until) end ??= Math.max(here, ...held.keys());
  step();
  if (!isDone()) return;
  clearInterval(timer);
  hello(); // so the device need not wait for this monitor
  if (options.csv) writeFileSync(options.csv, samples.map((row) => row.join() + "\n").join(""));
  const got = { bed: options.bed, run, joined, samples: samples.length, gaps, rejected };
  const clock = exchanges.sort(([a], [b]) => a - b)[0] ?? null; // the quickest exchange
  console.log(JSON.stringify({ ...got, round_trip_and_offset_s: clock }));
  const failed = samples.length === 0 || rejected > 0 || gaps.some(([, stop]) => stop > joined);
  setTimeout(() => process.exit(Number(failed)), 100); // the hello has left by then
}, 20);
