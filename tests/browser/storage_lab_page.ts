// Runs in a page of its own and asks the laboratory, which is in a worker, as the storage of the real page is.
import type { FromLab, ToLab } from "./storage_lab.ts";

const worker = new Worker(new URL("./storage_lab.ts", import.meta.url), { type: "module" });
const asked = new Map<number, PromiseWithResolvers<unknown>>();

function ask(call: Omit<ToLab, "id">): Promise<unknown> {
  const answer = Promise.withResolvers<unknown>();
  const id = asked.size;
  asked.set(id, answer);
  worker.postMessage({ id, ...call } satisfies ToLab);
  return answer.promise;
}

worker.onmessage = ({ data }: MessageEvent<FromLab>) => {
  if ("note" in data) globalThis[data.note]?.(...(data.args as [string, number, number]));
  else if ("error" in data) asked.get(data.id)?.reject(new Error(data.error));
  else asked.get(data.id)?.resolve(data.result);
};
worker.onerror = ({ message }) => {
  for (const { reject } of asked.values()) reject(new Error(message));
};

globalThis.lab = new Proxy({} as typeof lab, {
  get: (_, name) => (name === "then" ? undefined : (...args: unknown[]) => ask({ name: String(name), args })),
});
// The worker is there when it has answered.
await lab.ready();
