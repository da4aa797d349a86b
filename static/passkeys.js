// Forms that a passkey fills in. They show only where this script runs and the browser can do it:
// that is told before anything is drawn, so that nothing moves.
"use strict";

if (window.PublicKeyCredential) document.documentElement.classList.add("has-passkeys");

function withPasskeyAlone(options) {
  // It must be found without a name, and know its owner: then it logs in without a password.
  const wanted = options.publicKey.authenticatorSelection ??= {};
  Object.assign(wanted, {
    residentKey: "required", requireResidentKey: true, userVerification: "required",
  });
  return options;
}

async function optionsOf(form) {
  if (form.dataset.options) {
    const options = JSON.parse(document.getElementById(form.dataset.options).textContent);
    return form.dataset.passkey === "create"
      ? withPasskeyAlone(options.creation_options) : options.request_options;
  }
  const answer = await fetch(form.action, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`The options of a passkey: status ${answer.status}`);
  return (await answer.json()).request_options;
}

async function ask(form) {
  const failed = form.querySelector("[data-failed]");
  failed.textContent = "";
  try {
    const credential = await webauthnJSON[form.dataset.passkey](await optionsOf(form));
    form.elements.credential.value = JSON.stringify(credential);
    form.submit();
  } catch {
    failed.textContent = failed.dataset.failed; // refused, not known, or none on this device
  }
}

document.addEventListener("submit", (event) => {
  if (!event.target.dataset.passkey) return;
  event.preventDefault();
  ask(event.target);
});
