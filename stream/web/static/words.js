/** What the server's short words mean to people. Pure. */

export const VERDICTS = {
  fake: { word: "Fake", icon: "cross", rank: 4, meaning: "the model sees signs of a swapped face" },
  unsure: { word: "Unsure", icon: "question", rank: 3, meaning: "not clear enough to say" },
  "warming up": { word: "Warming up", icon: "dots", rank: 2, meaning: "has not seen enough of this face yet" },
  real: { word: "Real", icon: "check", rank: 1, meaning: "no sign of a swapped face" },
};
export const NO_FACE = { word: "No face", icon: "dots", rank: 0, meaning: "nobody is in view" };

export const REASONS = {
  too_small: "the face is too small to judge",
  blurred: "the face is blurred",
  dark: "the face is too dark",
  cut_off: "the face is cut off at the edge",
  low_confidence: "this is not clearly a face",
  damaged: "the picture is broken: parts of it were lost on the way",
};

export const STATES = {
  connecting: "connecting…",
  playing: "playing",
  reconnecting: "camera lost, trying again…",
  ended: "ended",
  failed: "cannot be watched",
};

/** How a stream is; one that never gave a picture was not lost. */
export function stateOf(stream) {
  if (stream.state === "reconnecting" && !stream.decoder) return "cannot reach it, trying again…";
  return STATES[stream.state] || stream.state;
}

export const KINDS = {
  fake: "Fake face",
  probability: "High score",
  no_face: "Nobody in view",
  stream_down: "Camera down",
  canary: "Self-test failed",
  test: "Test alert",
};

/** 0…1 as "93 %"; the ends stay open, for no model is certain. */
export function percent(share) {
  if (share === null || share === undefined) return "–";
  const whole = Math.round(share * 100);
  if (whole >= 100) return "> 99 %";
  if (whole <= 0) return "< 1 %";
  return `${whole} %`;
}

export function verdictOf(face) {
  return VERDICTS[face.verdict] || { ...VERDICTS.unsure, word: String(face.verdict) };
}

/** A score as the page explains it; empty where there is none. */
export function scored(share) {
  return share === null || share === undefined ? "" : `fake score ${percent(share)}`;
}

/** Why a face got no clear answer, in words; empty when there is nothing to explain. */
export function whyOf(face, thresholds) {
  if (face.reason) return `Because ${REASONS[face.reason] || face.reason.replaceAll("_", " ")}.`;
  if (face.verdict === "warming up") return "Has to see a face for some seconds first.";
  if (face.verdict === "unsure" && thresholds) {
    const score = face.fake_probability ?? null;
    if (score !== null && score >= thresholds.fake_at) return "On its way to fake: not for long enough yet.";
    if (score !== null && score <= thresholds.real_at) return "On its way to real: not for long enough yet.";
    return `Between ${percent(thresholds.real_at)} and ${percent(thresholds.fake_at)}: could be either.`;
  }
  return face.verdict === "unsure" ? "The score is in between: could be either." : "";
}

/** A delay for people: tenths of a second are fine enough. */
export function delay(ms) {
  if (!ms) return null;
  return ms < 1000 ? `${Math.max(10, Math.round(ms / 10) * 10)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

export function clock(at) {
  return new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

/** A moment that still says when it was after it was copied elsewhere: "24 Nov 2026, 14:14:49, UTC+1". */
export function moment(at) {
  const date = new Date(at * 1000);
  return `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" })}, ${clock(at)}, ${zone(-date.getTimezoneOffset())}`;
}

/** Minutes ahead of UTC as "UTC+5:30". */
export function zone(ahead) {
  const [hours, minutes] = [Math.floor(Math.abs(ahead) / 60), Math.abs(ahead) % 60];
  return `UTC${ahead < 0 ? "-" : "+"}${hours}${minutes ? `:${String(minutes).padStart(2, "0")}` : ""}`;
}

export function dayAndClock(at) {
  const date = new Date(at * 1000);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? clock(at) : `${date.toLocaleDateString([], { dateStyle: "medium" })}, ${clock(at)}`;
}

/** "just now", "4 min ago". */
export function ago(at, now = Date.now() / 1000) {
  const seconds = now - at;
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.round(seconds)} s ago`;
  return `${span(seconds)} ago`;
}

/** A duration with one unit, two where that says more. */
export function span(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

export function bytes(count) {
  if (count === null || count === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const place = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, count)) / 10));
  const value = count / 1024 ** place;
  return `${value >= 10 || place === 0 ? Math.round(value) : value.toFixed(1)} ${units[place]}`;
}

export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}
