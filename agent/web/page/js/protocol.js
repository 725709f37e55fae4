/** Messages of the monitor, as docs/web.md describes them, turned into what the page works with. */

/** Version of the protocol that is spoken here. */
export const VERSION = 1;
const WAVES_KIND = 1;
const HEADER_BYTES = 24;
const BLOCK_BYTES = 16;
const BEAT_BYTES = 8;
const FLAG_RESET = 1;
const FLAG_FULL = 2;

/** Reasons for which the monitor closes a connection. */
export const CLOSED = { wrongToken: 4401, slow: 4408, tooManyTries: 4429, tooManyViewers: 4503 };

/**
 * Read a message of waves.
 * @param {ArrayBuffer} buffer
 * @returns {?{tick: number, parts: Object[]}} null if it is of another kind
 */
export function readWaves(buffer) {
  const view = new DataView(buffer);
  if (view.byteLength < HEADER_BYTES || view.getUint8(0) !== WAVES_KIND) return null;
  const parts = [];
  let at = HEADER_BYTES;
  for (let left = view.getUint16(2, true); left > 0; left--) {
    const samples = view.getUint16(at + 8, true);
    const beats = view.getUint16(at + 10, true);
    const flags = view.getUint8(at + 3);
    const body = at + BLOCK_BYTES;
    const behind = body + 2 * samples;
    parts.push({
      id: view.getUint16(at, true),
      lead: view.getUint8(at + 2),
      restarts: (flags & FLAG_RESET) !== 0,
      isFull: (flags & FLAG_FULL) !== 0,
      head: view.getUint32(at + 4, true) + samples,
      counts: new Int16Array(buffer, body, samples),
      beats: readBeats(view, behind, beats),
    });
    at = behind + BEAT_BYTES * beats;
  }
  return { tick: view.getUint32(4, true), parts };
}

function readBeats(view, start, count) {
  return Array.from({ length: count }, (_, i) => ({
    sample: view.getUint32(start + BEAT_BYTES * i, true),
    label: String.fromCharCode(view.getUint8(start + BEAT_BYTES * i + 4)),
    confidence: view.getUint8(start + BEAT_BYTES * i + 5) / 100,
  }));
}

/** Return a bed with the names that the page uses; what may be missing has a value that says so. */
export function readBed(bed) {
  return {
    id: bed.id,
    bed: bed.bed,
    patient: bed.patient ?? "",
    place: bed.place ?? "",
    state: bed.state,
    rate: bed.suspended || bed.state !== "ok" ? null : (bed.rate ?? null),
    lastRate: bed.last_rate ?? null,
    lastRateAgeS: bed.last_rate_age_s ?? null,
    refusal: bed.refusal ?? "",
    rrMs: bed.rr_ms ?? null,
    rmssdMs: bed.rmssd_ms ?? null,
    sdnnMs: bed.sdnn_ms ?? null,
    counts: bed.counts ?? [],
    rhythm: bed.rhythm ?? "",
    rhythmWords: bed.rhythm_words ?? "",
    quality: bed.quality ?? null,
    lead: bed.lead ?? "",
    leads: bed.leads ?? [],
    otherLeads: (bed.other_leads ?? []).map((lead) => (typeof lead === "string" ? lead : lead.lead)),
    off: bed.off ?? [],
    alarms: (bed.alarms ?? []).map(readAlarm),
    lastAlarms: (bed.last_alarms ?? []).map(readAlarm),
    silencedUntil: bed.silenced_until_s ?? 0,
    pausedUntil: bed.paused_until_s ?? 0,
    limits: bed.limits ?? null,
    ownLimits: bed.own_limits ?? null,
    run: bed.run ?? "",
    head: bed.head ?? 0,
    clockAt: bed.clock_s ?? null,
    heardAt: bed.last_heard_s ?? null,
    behindS: bed.behind_s ?? 0,
    gaps: bed.gaps ?? null,
    missing: bed.missing ?? 0,
    ledger: bed.ledger ?? null,
    latency: bed.latency ?? null,
    fleet: bed.fleet ?? null,
    isUncalibrated: bed.uncalibrated ?? false,
  };
}

/** Return an alarm with the names that the page uses. */
export function readAlarm(alarm) {
  return {
    key: String(alarm.key),
    condition: alarm.condition,
    name: alarm.short ?? alarm.name ?? alarm.condition,
    priority: alarm.priority,
    text: alarm.text ?? "",
    phase: alarm.phase ?? "active",
    since: alarm.since_s ?? null,
    endedAt: alarm.ended_s ?? null,
    acknowledgedAt: alarm.acknowledged_s ?? null,
    by: alarm.by ?? "",
    asOf: null,
    isOfEarlierRun: alarm.earlier_run ?? false,
    onset: alarm.onset,
    announced: alarm.announced ?? null,
  };
}

/** Return one line of the index of all beds by name. */
export function readIndexRow([id, bed, state, priority, audible, silenced, paused]) {
  return { id, bed, state, priority, audible, silenced, paused };
}
