/** Requests to the monitor over HTTP: what a person does, and what is read on demand. */

import { token } from "./credentials.js";

/** An answer that is not what was asked for; `status` 0: there was none at all. */
export class RequestError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Read something of a bed, such as "trend?hours=6". */
export function fetchOfBed(id, what) {
  return request(`api/beds/${id}/${what}`, { headers: authorisation() });
}

/**
 * Do something about the alarms of a bed: acknowledge, silence or pause.
 * @param {Object} order who does it, and what is wanted: `on` of silence and pause, `keys` of what is acknowledged
 */
export function postDeed(id, deed, order) {
  return request(`api/beds/${id}/${deed}`, {
    method: "POST",
    headers: { ...authorisation(), "Content-Type": "application/json", "X-Ecg-Agent": "1" },
    body: JSON.stringify(order),
  });
}

function authorisation() {
  return token() ? { Authorization: `Bearer ${token()}` } : {};
}

async function request(path, options) {
  let answer;
  try {
    answer = await fetch(path, { ...options, cache: "no-store", credentials: "same-origin" });
  } catch {
    throw new RequestError(0, "the monitor does not answer");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new RequestError(answer.status, said.error ?? `the monitor answered ${answer.status}`);
  return said;
}
