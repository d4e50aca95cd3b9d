// Keeps the page itself for use without a network, and takes in pictures that other apps share. Models are not its
// business: requests for them pass through.
import { type PrecacheEntry, precacheAndRoute } from "workbox-precaching";
import { keepSharedPicture, SHARE_ACTION } from "../shared/shared_picture.ts";

declare const self: ServiceWorkerGlobalScope & { __WB_MANIFEST: PrecacheEntry[] };

// Queries say which model the page opens; the files are the same. Old versions' files go when this one takes over. Not so
// by `cleanupOutdatedCaches`, which takes the caches of sites in folders below this one for its own.
precacheAndRoute(self.__WB_MANIFEST, { ignoreURLParametersMatching: [/.*/] });

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const action = new URL(SHARE_ACTION, self.registration.scope).href;
  if (request.method === "POST" && request.url === action) event.respondWith(takeIn(request));
});

/** Keeps the shared picture for the page, and shows that. */
async function takeIn(request: Request): Promise<Response> {
  const { scope } = self.registration;
  try {
    await keepSharedPicture(scope, await request.formData());
  } catch {
    // What holds no picture still opens the page.
  }
  return Response.redirect(scope, 303);
}

// A page sends it when its user has agreed to the new version.
self.addEventListener("message", ({ data }) => {
  if (data === "take over") void self.skipWaiting();
});
