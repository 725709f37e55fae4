/** The page of the ward: puts its parts together, and shows the wall or one bed as the address says. */

import { Actions } from "./actions.js";
import { Announcer } from "./announcer.js";
import { BedPage } from "./bed_page.js";
import { Connection, socketAddress } from "./connection.js";
import { askCredentials, personName } from "./credentials.js";
import { byId, make, setAttribute, setShown, setText } from "./dom.js";
import { runFrameLoop, stats } from "./frame_loop.js";
import * as header from "./header.js";
import { fillHelp } from "./help.js";
import { listenToKeys } from "./keys.js";
import { VERSION, readWaves } from "./protocol.js";
import { AlarmSound, audiblePriority } from "./sound.js";
import { onThemeChange, startTheme, switchTheme, traceColours } from "./theme.js";
import { Wall, bedHash, pageButtons } from "./wall.js";
import { Ward } from "./ward.js";
import { startWatchdog } from "./watchdog.js";
import { STARTING_WORDS, bedLabel } from "./words.js";

/** Seconds without a connection after which rates are no longer shown. */
const STALE_S = 4;
/** How often ages and clocks are brought up to date. */
const CLOCK_MS = 500;
/** Flashing after IEC 60601-1-8: high priority twice a second, medium every two seconds. */
const FLASH_MS = 250;
const NO_BED_WORDS = "No bed has sent anything yet. The monitor waits for its device.";
/** Most seconds of past signal that cards begin with. */
const LONGEST_PAST_S = 30;

startTheme();
const ward = new Ward();
const announcer = new Announcer(byId("say-alert"), byId("say-polite"));
const actions = new Actions(ward, byId("note"));
const look = () => ({ colours: traceColours(), leastConfidence: ward.leastConfidence });
const wall = new Wall(byId("cards"), ward, look);
const bedPage = new BedPage(byId("bed-view"), ward, actions, look);
const counts = new header.WardCounts(byId("counts"));
const pages = pageButtons(wall, (by) => wall.turnPage(by) && update());
const connection = new Connection(socketAddress(document.baseURI, "ws"), {
  text: takeText,
  binary: takeBinary,
  change: changeConnection,
  askToken: (reason) => askCredentials({ token: true, reason }),
});
const sound = new AlarmSound(() => (connection.wasUp ? audiblePriority(ward, connection.isUp) : null));
const ticker = new Worker(new URL("./ticker.js", import.meta.url));
let openBed = null;
let isFrozen = false;
let asked = "";

byId("foot-pages").append(pages.element);
wall.onVisible = () => askForWaves();
onThemeChange(redraw);
fillHelp(byId("help-body"));
byId("sound").onclick = toggleSound;
byId("theme").onclick = switchTheme;
byId("help-open").onclick = () => byId("help").showModal();
byId("find").onchange = (event) => find(event.target);
byId("find").onkeydown = (event) => {
  if (event.key === "Enter") find(event.target);
  else if (event.key === "Escape") event.target.blur();
};
byId("person").onclick = changePerson;
byId("give-token").onclick = () => connection.askAgain();
ticker.onmessage = () => {
  connection.check();
  sound.check();
};
addEventListener("hashchange", route);
setInterval(tick, CLOCK_MS);
setInterval(flash, FLASH_MS);
runFrameLoop(draw, showNewest);
keepAwake();
route();
startWatchdog();

function redraw() {
  wall.recolour();
  bedPage.recolour();
}

function takeText(message) {
  if (message.type === "hello") {
    if (message.version !== VERSION) actions.say("this page is of another version than the monitor: load it again", true);
    if (ward.greet(message)) startAfresh();
    asked = "";
  } else if (message.type === "starting") {
    ward.takeStarting(message);
    update();
  } else if (message.type === "ward") {
    const hadBeds = ward.index.size > 0;
    const doubt = ward.leastConfidence;
    ward.take(message);
    if (ward.leastConfidence !== doubt) redraw();
    update();
    announcer.tellAlarms(ward);
    if (!hadBeds) wall.layOut();
  }
}

function takeBinary(buffer) {
  const waves = readWaves(buffer);
  if (!waves) return;
  stats.messages += 1;
  stats.bytes += buffer.byteLength;
  connection.send({ got: waves.tick });
  ward.takeWaves(waves.parts, performance.now() / 1000);
}

/** Another run of the monitor: nothing that was known is true any more. */
function startAfresh() {
  wall.reset();
  announcer.reset();
  const name = openBed;
  bedPage.show(null);
  bedPage.show(name);
  wall.recolour();
}

function changeConnection() {
  asked = "";
  announcer.tellConnection(connection.isUp, connection.silenceS());
  tick();
}

function update() {
  updateTitle();
  if (document.hidden) return;
  if (openBed === null) wall.update();
  else bedPage.update();
  askForWaves();
  counts.update(ward);
  header.updateElsewhere(byId("elsewhere"), ward, openBed === null ? wall.names : [openBed]);
  header.updateSystem(byId("system"), ward);
  header.updateTroubles(byId("troubles"), ward);
  header.updateFoot(byId("samples"), ward);
  pages.update();
  if (openBed !== null) setShown(pages.element, false);
  setShown(byId("empty"), openBed === null && ward.hello !== null && ward.index.size === 0);
  setText(byId("empty"), ward.isStarting() ? STARTING_WORDS : NO_BED_WORDS);
  setText(byId("disclaimer"), ward.hello?.disclaimer ?? "research tool, not a medical device");
  const bed = openBed === null ? null : ward.beds.get(openBed);
  if (bed) announcer.tellRate(bed, ward.shownRate(bed));
  updateNames();
}

/** The title of the tab says how many beds have an alarm of high priority. */
function updateTitle() {
  const high = ward.counts?.high ? `!!! ${ward.counts.high} · ` : "";
  const lost = connection.wasUp && !connection.isUp ? "NO CONNECTION · " : "";
  const title = `${lost}${high}${openBed ?? "Ward"} · ecg-agent`;
  if (document.title !== title) document.title = title;
}

function tick() {
  connection.check();
  const wasStale = ward.isStale;
  ward.isStale = !connection.isUp && connection.silenceS() > STALE_S;
  header.updateConnection(byId("connection"), connection, connection.isUp && !ward.isStarting() ? ward.clock.lateS() : 0);
  header.updateClock(byId("clock"), ward);
  updateTitle();
  updateSoundButton();
  setShown(byId("person"), personName() !== "");
  setText(byId("person"), personName());
  if (ward.isStale !== wasStale || connection.isUp) update();
}

/** Draw a frame: without a connection nothing moves, but what has lost its picture, as in another size, has it again. */
function draw(nowS) {
  const clockS = connection.isUp && !isFrozen ? nowS : null;
  if (openBed === null) wall.draw(clockS);
  else bedPage.draw(clockS);
}

/** Ask that the screen of a ward does not go dark; browsers allow it only over HTTPS or on this computer. */
function keepAwake() {
  navigator.wakeLock?.request("screen").catch(() => {});
}

/** After the page was hidden: the newest state at once. */
function showNewest() {
  keepAwake();
  for (const wave of ward.waves.values()) wave.playout.catchUp();
  tick();
}

function askForWaves() {
  if (!ward.hello || !ward.index.size) return;
  const ids = openBed !== null ? [] : wall.visibleNames().map((name) => ward.idOf(name));
  const watched = openBed === null ? null : (ward.idOf(openBed) ?? null);
  const wanted = { show: ids.filter((id) => id !== undefined).slice(0, ward.hello.most_shown ?? 64), watch: watched, seconds: Math.min(LONGEST_PAST_S, wall.secondsAcross() + 1) };
  const key = JSON.stringify(wanted);
  if (key !== asked && connection.send(wanted)) asked = key;
}

function route() {
  const found = /^#bed\/(.+)$/.exec(location.hash);
  const before = openBed;
  openBed = found ? safeDecode(found[1]) : null;
  freeze(false);
  setShown(byId("wall-view"), openBed === null);
  setShown(byId("bed-view"), openBed !== null);
  setAttribute(document.body, "data-view", openBed === null ? "ward" : "bed");
  bedPage.show(openBed);
  if (openBed === null) wall.layOut();
  update();
  if (openBed === null && before !== null) wall.focus(before);
  else if (openBed !== null) byId("main").focus({ preventScroll: true });
  scrollTo(0, 0);
}

function safeDecode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** Let the traces stand still, or go on; alarms and figures go on. */
function freeze(frozen) {
  if (isFrozen && !frozen) for (const wave of ward.waves.values()) wave.playout.catchUp();
  isFrozen = frozen;
  setShown(byId("frozen"), frozen);
}

/** Show the bed that is chosen, at its trends or its alarms. */
function showPart(part) {
  const name = chosenBed();
  if (name === null) {
    actions.say("choose a bed first, with the arrow keys", true);
    return;
  }
  location.hash = bedHash(name);
  // The page of the bed is built once the address has changed
  setTimeout(() => bedPage.reveal(part), openBed === name ? 0 : 100);
}

function find(input) {
  const text = input.value.trim().toLowerCase();
  const match = ward.urgent.find((name) => name.toLowerCase() === text) ?? ward.urgent.find((name) => name.toLowerCase().includes(text));
  if (text && match) location.hash = bedHash(match);
  else if (text) actions.say(`no bed named ${bedLabel(input.value)}`, true);
  input.value = "";
  input.blur();
}

/** Offer the names of all beds where one is searched; they change only with the index. */
function updateNames() {
  const list = byId("bed-names");
  if (list.index === ward.index) return;
  list.index = ward.index;
  list.replaceChildren(...[...ward.index.keys()].sort().map((name) => make("option", { value: name })));
}

async function toggleSound() {
  await sound.toggle();
  updateSoundButton();
}

function updateSoundButton() {
  const isAudible = sound.isAudible();
  const button = byId("sound");
  setText(button, isAudible ? "♪ sound on" : "SOUND IS OFF");
  setAttribute(button, "class", isAudible ? "tool" : "tool warn");
  setAttribute(button, "aria-pressed", String(isAudible));
  setAttribute(button, "title", isAudible ? "Turn the sound of alarms off (b)" : "No alarm is heard here: click to turn the sound on (b)");
}

async function changePerson() {
  await askCredentials({ name: true, reason: "Who acts is written down with each alarm." });
  tick();
}

function flash() {
  const quarter = Math.floor(performance.now() / FLASH_MS);
  const root = document.documentElement;
  root.toggleAttribute("data-high-off", quarter % 2 === 1);
  root.toggleAttribute("data-medium-off", quarter % 8 >= 4);
}

function chosenBed() {
  return openBed ?? wall.marked();
}

function actOnChosen(deed) {
  const name = chosenBed();
  if (name === null) actions.say("choose a bed first, with the arrow keys", true);
  else actions.act(deed, name).then(tick);
}

function stepBed(by) {
  const names = wall.order.names.length ? wall.order.names : ward.urgent;
  const place = names.indexOf(openBed);
  if (names.length) location.hash = bedHash(names[(place + by + names.length) % names.length]);
}

function rows(by) {
  wall.move(by * (wall.columns ?? 1));
}

listenToKeys(
  {
    "ward:ArrowLeft": () => wall.move(-1),
    "ward:ArrowRight": () => wall.move(1),
    "ward:ArrowUp": () => rows(-1),
    "ward:ArrowDown": () => rows(1),
    "ward:Home": () => wall.focus(wall.order.names[0]),
    "ward:End": () => wall.focus(wall.order.names.at(-1)),
    "ward:PageDown": () => wall.turnPage(1) && update(),
    "ward:PageUp": () => wall.turnPage(-1) && update(),
    "ward:n": () => wall.move(1),
    "ward:p": () => wall.move(-1),
    "ward:s": () => {
      wall.order.byUrgency = !wall.order.byUrgency;
      wall.order.names = [];
      update();
      actions.say(wall.order.byUrgency ? "the most urgent first" : "in the order of arrival", false);
    },
    "bed:Escape": () => (location.hash = "#ward"),
    "bed:o": () => (location.hash = "#ward"),
    "bed:n": () => stepBed(1),
    "bed:p": () => stepBed(-1),
    "bed:l": () => actions.changeLimits(openBed).then(tick),
    "bed:+": () => bedPage.changeGain(1),
    "bed:=": () => bedPage.changeGain(1),
    "bed:-": () => bedPage.changeGain(-1),
    "bed:a": () => bedPage.changeGain(0),
    "bed:<": () => bedPage.changeSpeed(1),
    "bed:,": () => bedPage.changeSpeed(1),
    "bed:>": () => bedPage.changeSpeed(-1),
    "bed:.": () => bedPage.changeSpeed(-1),
    k: () => actOnChosen("acknowledge"),
    m: () => actOnChosen("silence"),
    P: () => actOnChosen("pause"),
    A: () => showPart("alarms"),
    t: () => showPart("trends"),
    "bed: ": (event) => (event.target.closest("button, a") ? false : freeze(!isFrozen)),
    b: () => toggleSound(),
    d: () => switchTheme(),
    "/": () => byId("find").focus(),
    "?": () => byId("help").showModal(),
  },
  () => (openBed === null ? "ward" : "bed"),
);
