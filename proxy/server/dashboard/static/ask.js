// A question before an order that cannot be taken back, and the line that says how an order went.

import { by, text } from "./dom.js";

export function sure(title, explanation, yes) {
  const dialog = by("ask");
  text(by("ask-title"), title);
  text(by("ask-text"), explanation);
  text(by("ask-yes"), yes);
  return new Promise((resolve) => {
    const settle = (answer) => {
      by("ask-yes").onclick = by("ask-no").onclick = dialog.onclose = null;
      dialog.close();
      resolve(answer);
    };
    by("ask-yes").onclick = () => settle(true);
    by("ask-no").onclick = () => settle(false);
    dialog.onclose = () => settle(false);
    dialog.showModal();
    by("ask-no").focus();
  });
}

export function say(sentence) {
  text(by("notice"), sentence);
}

// Carries out an order or reads something; what is refused is shown, and `done` once it is done.
export async function tried(work, done = null) {
  try {
    const found = await work();
    if (done !== null) say(done);
    return found;
  } catch (error) {
    say(error.message);
    return null;
  }
}
