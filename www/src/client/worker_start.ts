/** Pages that let only named policies make addresses of scripts have to allow the one named `easel`. */
interface Policy {
  createScriptURL(url: string): string;
}
interface PolicyFactory {
  createPolicy(name: string, rules: Policy): Policy;
}

let policy: Policy | undefined;

/**
 * Starts a module worker. Browsers take workers from their own origin only: a script from another one, such as a CDN's, is
 * imported by a script of this origin, for which a Content-Security-Policy has to allow `blob:` and the other origin in
 * `worker-src`.
 */
export function startWorker(url: URL): Worker {
  if (url.origin === location.origin) return new Worker(trusted(url.href), { type: "module", name: "easel" });
  const script = new Blob([`import ${JSON.stringify(url.href)};`], { type: "text/javascript" });
  const local = URL.createObjectURL(script);
  const worker = new Worker(trusted(local), { type: "module", name: "easel" });
  const release = () => URL.revokeObjectURL(local);
  worker.addEventListener("message", release, { once: true });
  worker.addEventListener("error", release, { once: true });
  return worker;
}

/** An address as browsers with Trusted Types take it. */
function trusted(url: string): string {
  const { trustedTypes } = globalThis as { trustedTypes?: PolicyFactory };
  policy ??= trustedTypes?.createPolicy("easel", { createScriptURL: (own) => own });
  return policy?.createScriptURL(url) ?? url;
}
