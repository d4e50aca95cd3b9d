/**
 * Starts a module worker. Browsers take workers from their own origin only: a script from another one, such as a CDN's, is
 * imported by a script of this origin, for which a Content-Security-Policy has to allow `worker-src blob:` and the other
 * origin in `script-src`.
 */
export function startWorker(url: URL): Worker {
  if (url.origin === location.origin) return new Worker(url, { type: "module", name: "easel" });
  const script = new Blob([`import ${JSON.stringify(url.href)};`], { type: "text/javascript" });
  const local = URL.createObjectURL(script);
  const worker = new Worker(local, { type: "module", name: "easel" });
  const release = () => URL.revokeObjectURL(local);
  worker.addEventListener("message", release, { once: true });
  worker.addEventListener("error", release, { once: true });
  return worker;
}
