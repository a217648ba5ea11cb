// Trades the admin key for a cookie that no script can read.

const form = document.getElementById("login");
const field = document.getElementById("key");
const notice = document.getElementById("notice");

if (!window.isSecureContext) {
  notice.textContent =
    "This page was loaded over plain HTTP, where others can read along. Log in over HTTPS, or on the machine itself.";
}

function told(status, body) {
  const message = body?.error?.message;
  return message ?? `The server answered with status ${status}.`;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  notice.textContent = "";
  try {
    const answer = await fetch("login", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ key: field.value }),
    });
    const body = await answer.json().catch(() => null);
    if (answer.ok) {
      field.value = "";
      window.location.assign("../dashboard");
      return;
    }
    notice.textContent = told(answer.status, body);
  } catch {
    notice.textContent = "The server cannot be reached.";
  }
  field.select();
});
