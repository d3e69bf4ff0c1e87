// Keeps what is marked data-live as the server has it: asks for the page anew and carries over what differs. All else works without it.
"use strict";

// Make an element what it is in the fresh page, and touch nothing that is so already: focus stays, and only what changed is read aloud.
function become(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName || old.id !== fresh.id) return old.replaceWith(fresh);
  if (old.nodeType !== Node.ELEMENT_NODE) return void (old.nodeValue = fresh.nodeValue);
  for (const { name } of [...old.attributes]) if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (fresh.hasAttribute("data-list")) return rows(old, fresh);
  const next = [...fresh.childNodes];
  for (const gone of [...old.childNodes].slice(next.length)) gone.remove();
  next.forEach((node, place) => (place < old.childNodes.length ? become(old.childNodes[place], node) : old.append(node)));
}

// The parts of a list are known by their ids, so that none becomes another under somebody's hand.
function rows(old, fresh) {
  const wanted = new Set([...fresh.children].map((row) => row.id));
  for (const row of [...old.children]) if (!wanted.has(row.id)) row.remove();
  [...fresh.children].forEach((row, place) => {
    const mine = [...old.children].find((one) => one.id === row.id);
    if (mine !== old.children[place] || !mine) old.insertBefore(mine ?? row, old.children[place] ?? null);
    if (mine) become(mine, row);
  });
}

const pulse = document.getElementById("pulse");
const say = (words) => pulse.textContent !== words && (pulse.textContent = words);
// What was written and is nowhere else: not sent yet, or refused.
const typed = () =>
  document.getElementById("refusal") || [...document.querySelectorAll("main :is(input, textarea)")].some((one) => one.value !== one.defaultValue);
const seconds = Number(document.body.dataset.every);
let known = new Date();

async function look() {
  // Nothing moves while somebody is about to press it, and nobody looks at a hidden page.
  if (!document.hidden && !document.querySelector("[data-live] :is(button, summary, a):hover")) {
    try {
      const answer = await fetch(location.href, { headers: { "Mynah-Look": "1" }, signal: AbortSignal.timeout(20000) });
      if (answer.redirected) {
        if (!typed()) return location.replace(location.pathname + location.search); // the session is over, and nothing is lost by it
        say("You are signed out: sign in in another tab, and what you wrote here can be saved.");
      } else if (answer.status === 404) {
        say("What this page shows is gone.");
      } else if (!answer.ok) {
        throw new Error(answer.status);
      } else {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const old of document.querySelectorAll("[data-live]")) {
          const now = fresh.getElementById(old.id);
          if (now) become(old, now);
        }
        known = new Date();
        say("");
      }
    } catch {
      say(`Mynah does not answer: this is how it stood at ${known.toLocaleTimeString()}.`);
    }
  }
  setTimeout(look, seconds * 1000);
}

// The address that `mynah web` prints has the token behind its #, which no browser sends and no log holds.
const form = document.getElementById("sign-in");
function enter() {
  if (location.hash.length < 2) return;
  form.elements.token.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  form.requestSubmit();
}

if (form) {
  enter();
  addEventListener("hashchange", enter);
} else if (seconds && document.querySelector("[data-live]")) {
  setTimeout(look, seconds * 1000);
}
