// A picture that another app shared with the installed one, between the service worker that gets it and the page.

/** Address below the page to which the manifest has pictures sent, and the field of the form that holds them. */
export const SHARE_ACTION = "share-picture";
export const SHARE_FIELD = "picture";

/** Caches are of an origin, which may hold several of these pages. */
const cacheName = (scope: string) => `easel shared ${scope}`;
const entry = (scope: string) => new URL("shared-picture", scope).href;
const NAME_HEADER = "X-File-Name";

/** Keeps the picture of a form that was sent; a later one takes the place of one that nobody took. */
export async function keepSharedPicture(scope: string, form: FormData): Promise<void> {
  const file = form.get(SHARE_FIELD);
  if (!(file instanceof File) || !file.type.startsWith("image/")) return;
  const headers = { "Content-Type": file.type, [NAME_HEADER]: encodeURIComponent(file.name) };
  const cache = await caches.open(cacheName(scope));
  await cache.put(entry(scope), new Response(file, { headers }));
}

/** The picture that was shared, once; `undefined` where there is none. */
export async function takeSharedPicture(scope: string): Promise<File | undefined> {
  if (!("caches" in globalThis) || !(await caches.has(cacheName(scope)))) return undefined;
  const cache = await caches.open(cacheName(scope));
  const kept = await cache.match(entry(scope));
  await caches.delete(cacheName(scope));
  if (!kept) return undefined;
  const picture = await kept.blob();
  return new File([picture], decodeURIComponent(kept.headers.get(NAME_HEADER) ?? "picture"), {
    type: picture.type,
  });
}
