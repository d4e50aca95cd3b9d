// Keeps the page itself for use without a network. Models are not its business: requests for them pass through.
// `__SHELL__` and `__VERSION__` are filled in when the page is built.

declare const __SHELL__: string[];
declare const __VERSION__: string;

const worker = self as unknown as ServiceWorkerGlobalScope;
// Caches are of an origin, which may hold several of these pages.
const OURS = `easel ${worker.registration.scope} `;
const NAME = OURS + __VERSION__;
const PATIENCE_MS = 4000;
const shell = new Set(__SHELL__.map((path) => new URL(path, worker.registration.scope).href));

async function install(): Promise<void> {
  const cache = await caches.open(NAME);
  await cache.addAll([...shell]);
}

async function dropOldVersions(): Promise<void> {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith(OURS) && name !== NAME);
  await Promise.all(old.map((name) => caches.delete(name)));
}

/** The page's own files, named by their contents, never change: the kept copy is right. */
async function keptFirst(request: Request): Promise<Response> {
  const cache = await caches.open(NAME);
  return (await cache.match(request, { ignoreVary: true })) ?? fetch(request);
}

/** The document names the current files, so it comes from the network where there is one that answers. */
async function networkFirst(request: Request): Promise<Response> {
  try {
    return await fetch(request, { signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch (error) {
    const cache = await caches.open(NAME);
    const kept = await cache.match(worker.registration.scope, { ignoreVary: true });
    if (kept) return kept;
    throw error;
  }
}

worker.addEventListener("install", (event) => event.waitUntil(install()));
worker.addEventListener("activate", (event) => event.waitUntil(dropOldVersions()));
worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  const document = new URL(url.pathname, url.origin).href === worker.registration.scope;
  if (request.mode === "navigate" && document) event.respondWith(networkFirst(request));
  else if (shell.has(request.url)) event.respondWith(keptFirst(request));
});
