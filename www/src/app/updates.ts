// The page from its own copy in the browser, and new versions of it when the user agrees.
import { button, make } from "./make.ts";

/** Has the browser keep the page for use without a network; without that it works, only not offline. */
export function keepPage(): void {
  if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return;
  const { serviceWorker } = navigator;
  // A page that no earlier version has kept loses nothing when one takes over.
  if (serviceWorker.controller) serviceWorker.addEventListener("controllerchange", onTakeOver);
  // What is kept for later must not hold up what is shown now.
  if (document.readyState !== "complete") addEventListener("load", register, { once: true });
  else register();
}

function register(): void {
  navigator.serviceWorker.register(new URL("sw.js", document.baseURI)).then(watch, () => {});
}

function watch(registration: ServiceWorkerRegistration): void {
  offer(registration);
  registration.addEventListener("updatefound", () => {
    const { installing } = registration;
    installing?.addEventListener("statechange", () => offer(registration));
  });
  document.addEventListener("visibilitychange", () => {
    // An installed app may stay open for weeks.
    if (document.visibilityState === "visible") registration.update().catch(() => {});
  });
}

/** Offers a version that waits beside the one that this page is of; the first ever waits for none. */
function offer({ waiting }: ServiceWorkerRegistration): void {
  if (waiting && navigator.serviceWorker.controller) showBar();
}

function showBar(): void {
  if (document.getElementById("update")) return;
  const reload = button("Reload", () => void renew());
  const bar = make("div", { id: "update" }, make("p", {}, "A new version is ready."), reload);
  bar.setAttribute("role", "status");
  document.body.append(bar);
}

/** Whether the user has asked this tab for the new version. */
let agreed = false;

/** Has the latest version take over; where another tab has done so already, opening the page anew gives it. */
async function renew(): Promise<void> {
  const registration = await navigator.serviceWorker.getRegistration();
  if (!registration?.waiting) return location.reload();
  agreed = true;
  registration.waiting.postMessage("take over");
}

/** Files of this page's version are gone with it, so that no other engine can be started: not so what is being drawn. */
function onTakeOver(): void {
  if (agreed) location.reload();
  else showBar();
}
