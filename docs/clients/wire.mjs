// Reads what a device sends, as strictly as ../wire.md specifies it, and puts its samples in order, for monitor.mjs.

const INDEX = ["integer", 0, 2 ** 53], ONE = ["integer", 1, 1], RAIL = ["integer", -(2 ** 31), 2 ** 31 - 1];
const TEXT = ["string", 1, 64], TIME = ["number", 0, 1e12];
const END = { kind: TEXT, v: ONE, run: TEXT, sequence: INDEX, first: INDEX, fs: ["number", 1, 10_000], sent: TIME };
const SAMPLES = { ...END, count: ["integer", 1, 65_536], dtype: TEXT, leads: ["array", 1, 16] };
const LEAD = {
  name: TEXT, unit: ["string", 1, 16], gain: ["number", 1e-9, 1e9], offset: ["number", -(2 ** 53), 2 ** 53],
  low: RAIL, high: RAIL,
};
const HELLO = { kind: TEXT, v: ONE, id: INDEX, asked: TIME, received: TIME, sent: TIME, beds: INDEX };
const FETCHED = {
  kind: TEXT, v: ONE, id: INDEX, bed: TEXT, run: ["string", 0, 64], start: INDEX, oldest: INDEX, next: INDEX,
  ended: ["boolean", 0, 1],
};
const PRINTABLE = /^(?:[^\p{C}\p{Z}]| )*$/u;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

// Return bed, header and samples of three frames: of each sample the value of each lead, NaN for no value.
export function parsePacket([name, head, data, ...more]) {
  const bed = utf8.decode(name), header = JSON.parse(utf8.decode(head));
  require(more.length === 0 && name.length >= 1 && name.length <= 64 && PRINTABLE.test(bed), "name of the bed");
  require(head.length <= 16_384 && data.length <= 2 ** 20, "size of a frame");
  check(header, { samples: SAMPLES, end: END }[header.kind]);
  if (header.kind === "end") {
    require(data.length === 0, "an end with samples");
    return [bed, header, []];
  }
  const { leads, count, dtype } = header;
  const [read, size] = { int16: ["readInt16LE", 2], int32: ["readInt32LE", 4] }[dtype];
  for (const lead of leads) require(check(lead, LEAD).low < lead.high, "rails");
  require(new Set(leads.map((lead) => lead.name)).size === leads.length, "two leads of one name");
  require(count <= 2 ** 53 - header.first && data.length === count * leads.length * size, "count, or size of frame 3");
  const value = (n, lead) => (n === -(2 ** (8 * size - 1)) ? NaN : (n - lead.offset) / lead.gain);
  const row = (at) => leads.map((lead, i) => value(data[read]((at * leads.length + i) * size), lead));
  return [bed, header, Array.from({ length: count }, (_, at) => row(at))];
}

// Return a reply, and the three frames of each packet behind it.
export function parseReply([head, ...frames]) {
  const reply = JSON.parse(utf8.decode(head));
  require(head.length <= 1024 && frames.length % 3 === 0 && frames.length <= 3 * 8192, "size of a reply");
  check(reply, { hello: HELLO, fetched: FETCHED }[reply.kind]);
  return [reply, Array.from({ length: frames.length / 3 }, (_, i) => frames.slice(3 * i, 3 * i + 3))];
}

// Return an object that has exactly these keys, each of its type and within its limits.
function check(found, keys) {
  require(Object.keys(found).sort().join() === Object.keys(keys).sort().join(), `keys ${Object.keys(found)}`);
  for (const [key, [kind, low, high]] of Object.entries(keys)) {
    const value = found[key], size = kind === "string" ? [...value].length : kind === "array" ? value.length : value;
    const types = [typeof value, Array.isArray(value) && "array", Number.isInteger(value) && "integer"];
    require(types.includes(kind) && size >= low && size <= high, `${key} ${value}`);
    require(kind !== "string" || PRINTABLE.test(value), `${key} ${value}`);
  }
  return found;
}

export function require(truth, what) {
  if (!truth) throw Error(`not as specified: ${what}`);
}

// A run of a bed: `samples` in order up to `next`, each [index, ...values]; `gaps`: ranges that never came.
export class Run {
  name = null; fs = 0; joined = 0; next = 0; sent = 0; end = null;
  samples = []; gaps = []; held = new Map();

  // Begin with the first packet, `back` seconds before it: what was sent in these is missing.
  join(header, back) {
    if (this.name !== null) return;
    [this.name, this.fs, this.joined] = [header.run, header.fs, header.first];
    this.next = Math.max(0, this.joined - Math.round(back * this.fs));
    this.take(this.joined, []);
  }

  // The number of samples that are missing before the first that is held back, or before the end.
  get missing() {
    const stop = this.held.size ? Math.min(...this.held.keys()) : this.end ?? 0;
    return Math.max(0, stop - this.next);
  }

  // Take samples, or hold them back until those before them have come.
  take(first, values) {
    if (values.length >= (this.held.get(first)?.length ?? 0)) this.held.set(first, values);
    this.sent = Math.max(this.sent, first + values.length);
    for (let at; this.held.size && (at = Math.min(...this.held.keys())) <= this.next; this.held.delete(at))
      for (const row of this.held.get(at).slice(this.next - at)) this.samples.push([this.next++, ...row]);
  }

  // Go on behind the missing samples before `stop`: they are a gap, unless they never were (not `lost`).
  skip(stop, lost = true) {
    const count = Math.min(stop - this.next, this.missing);
    if (count <= 0) return;
    if (lost) this.gaps.push([this.next, this.next + count]);
    this.next += count;
    this.take(this.next, []);
  }
}
