// Talking to the API: one place for the CSRF header and for problem documents (RFC 9457).

export class HttpError extends Error {
  constructor(status, detail, errors = [], retryAfter = 0) {
    super(detail);
    this.name = "HttpError";
    this.status = status;
    this.detail = detail;
    this.errors = errors;
    this.retryAfter = retryAfter;
  }
}

export function cookie(name) {
  const found = document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`));
  return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
}

async function problemOf(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
  const body = isJson ? await response.json() : {};
  const detail = body.detail ?? `The server answered ${response.status}.`;
  return new HttpError(response.status, detail, body.errors ?? [], retryAfter);
}

async function send(url, options) {
  const response = await fetch(url, { credentials: "same-origin", ...options });
  if (!response.ok) throw await problemOf(response);
  const body = response.status === 204 ? null : await response.json();
  return { status: response.status, body };
}

/** GET; resolves to the parsed body, rejects with HttpError (an answer) or TypeError (no connection). */
export async function getJson(url, { signal, headers = {} } = {}) {
  return (await send(url, { signal, headers: { Accept: "application/json", ...headers } })).body;
}

/** POST of a JSON body; resolves to {status, body}. */
export async function postJson(url, data, { signal, headers = {} } = {}) {
  return send(url, {
    method: "POST",
    signal,
    headers: {
      Accept: "application/json",
      "Content-Type": "application/json",
      "X-CSRFToken": cookie("csrftoken"),
      ...headers,
    },
    body: JSON.stringify(data),
  });
}
