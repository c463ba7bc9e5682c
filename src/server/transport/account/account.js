// The account page: sign in, change the password, set up the second factor, see and end sessions, sign out.
//
// It speaks to the REST API of the server that it came from, with the session cookie, which scripts cannot read. What
// always holds: nothing is stored in the browser; secrets are in the page only while they are shown, and never in an
// address; text from the server enters the page as text.

import { picture } from "./qr.js";

const API = "api/rest/v1/";

const at = (id) => document.getElementById(id);

/** A call that did not succeed: `reason` for the program, `message` for people. */
class Failure extends Error {
  constructor(reason, message) {
    super(message);
    this.reason = reason;
  }
}

/** Calls the API; the answer's body, or a Failure. */
async function call(method, path, body) {
  const options = { method, cache: "no-store", credentials: "same-origin", redirect: "error" };
  if (body !== undefined) {
    options.headers = { "content-type": "application/json" };
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(API + path, options);
  } catch {
    throw new Failure("UNREACHABLE", "The server cannot be reached. Check your connection and try again.");
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer !== null) {
    return answer;
  }
  throw failure(response, answer);
}

function failure(response, answer) {
  const detail = answer?.details?.[0] ?? {};
  let message = detail.message || answer?.message || `The server answered with status ${response.status}.`;
  const wait = Number(response.headers.get("retry-after"));
  if (response.status === 429 && wait > 0) {
    message += ` Try again in ${wait < 120 ? `${wait} seconds` : `${Math.ceil(wait / 60)} minutes`}.`;
  }
  return new Failure(detail.reason || "", message);
}

/** Says something about the page as a whole. */
function notice(text, bad = false) {
  at("notice").textContent = text;
  at("notice").classList.toggle("bad", bad);
}

/** Makes a form run a function on its fields; failures are shown in the form. */
function onSubmit(form, run) {
  const error = form.querySelector(".error");
  const button = form.querySelector("button:not([type])");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) {
      return;
    }
    error.textContent = "";
    notice("");
    const missing = [...form.elements].find((field) => field.required && !field.value && field.offsetParent);
    if (missing) {
      error.textContent = "Please fill in every field.";
      missing.focus();
      return;
    }
    button.disabled = true;
    try {
      await run(form.elements);
    } catch (problem) {
      if (!(await sessionIsOver(problem))) {
        error.textContent = problem.message;
      }
    } finally {
      button.disabled = false;
    }
  });
}

/** Back to the sign-in form if that is why a call failed. */
async function sessionIsOver(problem) {
  const over = ["SESSION_ENDED", "TOKEN_EXPIRED", "TOKEN_INVALID", "CREDENTIAL_MISSING"].includes(problem.reason);
  if (over) {
    await show();
    notice("Your session has ended. Sign in again.", true);
  }
  return over;
}

/** Shows what fits whoever is signed in. */
async function show() {
  forget();
  let me = null;
  try {
    me = (await call("GET", "users/me")).result.me;
  } catch (problem) {
    if (problem.reason === "UNREACHABLE" || !problem.reason) {
      notice(problem.message, true);
    }
  }
  at("sign-in").hidden = me !== null;
  at("who").hidden = me === null;
  const local = me?.source === "internal";
  const temporary = local && !me.passwordChanged;
  at("change-password").hidden = !local;
  at("temporary").hidden = !temporary;
  at("second-factor").hidden = !local || temporary;
  at("sessions").hidden = me === null || temporary;
  if (me === null) {
    at("username").focus();
    return;
  }
  at("who-name").textContent = me.username;
  for (const field of document.querySelectorAll("input.unseen")) {
    field.value = me.username;
  }
  at("second-factor-state").textContent = me.totpEnabled
    ? "It is on: signing in takes a code of your authenticator app. Setting it up anew replaces the app and all recovery codes."
    : "It is off. With it, signing in takes a code of an authenticator app as well, so that your password alone opens nothing.";
  at("set-up-button").textContent = me.totpEnabled ? "Set up anew" : "Set up";
  if (!temporary) {
    await showSessions().catch((problem) => (at("sessions").querySelector(".error").textContent = problem.message));
  }
  if (!local) {
    notice("Your password and second factor are kept by the provider that you signed in with.");
  } else if (temporary) {
    at("change-password-title").focus();
  }
}

/** Takes everything secret off the page. */
function forget() {
  for (const form of document.forms) {
    form.reset();
    form.querySelector(".error").textContent = "";
  }
  showPasswords(false);
  document.querySelectorAll("div.code").forEach((part) => (part.hidden = true));
  at("enrolment").hidden = true;
  at("set-up").hidden = false;
  at("app-link").removeAttribute("href");
  at("sessions").querySelector(".error").textContent = "";
  for (const id of ["secret", "recovery-codes", "picture", "session-list", "who-name"]) {
    at(id).replaceChildren();
  }
}

function showPasswords(shown) {
  for (const id of ["current", "new", "again"]) {
    at(id).type = shown ? "text" : "password";
  }
}

/** Runs a call with the code of the form; asks for one, and answers undefined, if there has to be one. */
async function withCode(fields, run) {
  const totp = fields.code.value.trim();
  try {
    return await run(totp ? { totp } : {});
  } catch (problem) {
    if (problem.reason !== "TWO_FACTOR_REQUIRED") {
      throw problem;
    }
    fields.code.closest("div").hidden = false;
    fields.code.focus();
    notice("Your account has a second factor: enter its code.");
    return undefined;
  }
}

onSubmit(at("sign-in").querySelector("form"), async (fields) => {
  const credentials = { username: fields.username.value, password: fields.password.value };
  if (await withCode(fields, (code) => call("POST", "authentication/login", { ...credentials, ...code }))) {
    await show();
  }
});

onSubmit(at("change-password").querySelector("form"), async (fields) => {
  if (fields.new.value !== fields.again.value) {
    fields.again.focus();
    throw new Failure("", "The two new passwords are not the same.");
  }
  await call("PUT", "users/me/password", { currentPassword: fields.current.value, newPassword: fields.new.value });
  await show();
  notice("Your password is changed, and your other sessions have ended.");
});

onSubmit(at("set-up"), async (fields) => {
  const proof = { password: fields.password.value };
  const reply = await withCode(fields, (code) => call("POST", "users/me/totp/reset", { ...proof, ...code }));
  if (!reply) {
    return;
  }
  fields.password.value = fields.code.value = "";
  const { totpSecret: secret, totpRecoveryCodes: codes } = reply.result;
  const account = encodeURIComponent(`chorus:${fields.username.value}`);
  const link = `otpauth://totp/${account}?secret=${secret}&issuer=chorus`;
  at("app-link").href = link;
  at("picture").replaceChildren(...[picture(link)].filter(Boolean));
  at("secret").textContent = secret.replace(/(.{4})(?=.)/g, "$1 ");
  at("recovery-codes").replaceChildren(...codes.map((code) => {
    const item = document.createElement("li");
    item.textContent = code;
    return item;
  }));
  at("set-up").hidden = true;
  at("enrolment").hidden = false;
  at("enrolment-title").focus();
});

onSubmit(at("confirm"), async (fields) => {
  await call("POST", "users/me/totp/enable", { totp: fields.code.value.trim() });
  await show();
  notice("The second factor is on. The next sign-in asks for a code.");
});

/** Lists the sessions, this one first. */
async function showSessions() {
  const { sessions } = (await call("GET", "authentication/sessions?pagination.limit=100")).result;
  sessions.sort((a, b) => Number(b.current) - Number(a.current));
  at("session-list").replaceChildren(...sessions.map(sessionItem));
  at("end-others").hidden = sessions.every((session) => session.current);
}

function sessionItem(session) {
  const item = document.createElement("li");
  const text = document.createElement("div");
  const time = (stamp) => (stamp ? new Date(stamp).toLocaleString() : "–");
  const name = document.createElement("strong");
  name.textContent = session.current ? "This session" : session.device || "Unknown device";
  const facts = document.createElement("p");
  facts.className = "hint";
  const from = session.current && session.device ? `${session.device}, ` : "";
  const lastly = session.current ? "" : `, last used ${time(session.lastSeenAt)}`;
  facts.textContent = `${from}${session.address || "unknown address"}, since ${time(session.createdAt)}${lastly}`;
  text.append(name, facts);
  item.append(text);
  if (!session.current) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = "End";
    button.setAttribute("aria-label", `End the session of ${name.textContent}, since ${time(session.createdAt)}`);
    button.addEventListener("click", () => endSessions(button, "The session has ended.", () =>
      call("DELETE", "authentication/sessions/" + encodeURIComponent(session.id))));
    item.append(button);
  }
  return item;
}

/** Ends sessions by a call, and shows what is left. */
async function endSessions(button, done, run) {
  const error = at("sessions").querySelector(".error");
  error.textContent = "";
  button.disabled = true;
  try {
    await run();
    await showSessions();
    notice(done);
    at("sessions-title").focus();
  } catch (problem) {
    if (!(await sessionIsOver(problem))) {
      error.textContent = problem.message;
    }
  } finally {
    button.disabled = false;
  }
}

at("end-others").addEventListener("click", () => endSessions(at("end-others"), "All other sessions have ended.", () =>
  call("POST", "authentication/sessions/revoke", { exceptCurrent: true })));

at("reveal").addEventListener("change", (event) => showPasswords(event.target.checked));

at("copy").addEventListener("click", async () => {
  const codes = [...at("recovery-codes").children].map((item) => item.textContent).join("\n");
  try {
    await navigator.clipboard.writeText(codes);
    notice("The recovery codes are copied. Keep them where only you can read them.");
  } catch {
    notice("This browser does not let the page copy. Select the codes and copy them yourself.", true);
  }
});

at("print").addEventListener("click", () => window.print());

at("sign-out").addEventListener("click", async () => {
  try {
    const { redirectURL: next } = await call("POST", "authentication/logout", {});
    if (next && /^https?:/.test(next)) {
      window.location.assign(next);
      return;
    }
  } catch (problem) {
    if (!(await sessionIsOver(problem))) {
      notice(problem.message, true);
    }
    return;
  }
  await show();
  notice("You are signed out.");
});

// a page that comes back from the browser's memory shows what was, not what is
window.addEventListener("pageshow", (event) => event.persisted && show());
window.addEventListener("pagehide", forget);

await show();
