/** The server's API: requests that tell what went wrong in the server's own words, and the events that never end. */

const ROOT = "api/v1";
const REQUEST_TIMEOUT_MS = 15000;
const RETRY_MS = [500, 1000, 2000, 4000];
const METHODS_WITHOUT_TOKEN = new Set(["GET", "HEAD"]);

/** One line for people in `message`; `status` is HTTP's, 0 when the server was not reached. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** JSON in, JSON out. Throws ApiError. */
export async function request(method, path, body) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  if (!METHODS_WITHOUT_TOKEN.has(method)) headers["X-CSRF-Token"] = cookie("unmask_csrf");
  let response;
  try {
    response = await fetch(`${ROOT}${path}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
  } catch {
    throw new ApiError("the server cannot be reached", 0);
  }
  const answer = response.status === 204 ? null : await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(told(answer, response), response.status);
  return answer;
}

export const get = (path) => request("GET", path);

export const streamPath = (name) => `/streams/${encodeURIComponent(name)}`;

/** Where a picture or a video of the API lies; the server's own paths are taken as they are. */
export const urlOf = (path) => (path.startsWith("/api/") ? path.slice(1) : `${ROOT}${path}`);

function told(answer, response) {
  if (answer && typeof answer.error === "string") return answer.error;
  return `the server answered ${response.status} ${response.statusText}`.trim();
}

function cookie(name) {
  const found = document.cookie.split("; ").find((entry) => entry.startsWith(`${name}=`));
  return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
}

/**
 * The server's events until `close`; a connection that is lost is taken up again.
 * `on`: {scene, alert, streams, open, lost}. `open` comes at each connection: what was missed must be fetched then.
 */
export class Events {
  constructor(on) {
    this.on = on;
    this.failures = 0;
    this.connect();
  }

  connect() {
    this.source = new EventSource(`${ROOT}/events`);
    this.source.onopen = () => {
      this.failures = 0;
      this.on.open();
    };
    this.source.onerror = () => this.retry();
    for (const kind of ["scene", "alert", "streams"]) {
      this.source.addEventListener(kind, (event) => this.on[kind](JSON.parse(event.data || "null")));
    }
  }

  retry() {
    this.source.close();
    this.on.lost();
    const wait = RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)];
    this.timer = setTimeout(() => this.connect(), wait);
  }

  close() {
    clearTimeout(this.timer);
    this.source.close();
  }
}
