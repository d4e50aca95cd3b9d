// The page from its own copy in the browser, and new versions of it when the user agrees.
import { button, make } from "./make.ts";

/** Has the browser keep the page for use without a network; without that it works, only not offline. */
export function keepPage(): void {
  if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return;
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

/** Shows the bar when a version waits beside the one that this page is of; the first ever waits for none. */
function offer({ waiting }: ServiceWorkerRegistration): void {
  if (!waiting || !navigator.serviceWorker.controller || document.getElementById("update")) return;
  const reload = button("Reload", () => takeOver(waiting, reload));
  const bar = make("div", { id: "update" }, make("p", {}, "A new version is ready."), reload);
  bar.setAttribute("role", "status");
  document.body.append(bar);
}

function takeOver(waiting: ServiceWorker, reload: HTMLButtonElement): void {
  reload.disabled = true;
  navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
  waiting.postMessage("take over");
}
